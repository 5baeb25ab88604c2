/** Where recorded steps went: operations alike (kernel, pass, shapes) summed over steps and ranks, longest first. */
import type { RankPlan } from '../../plan/plan.js';
import type { ProgramKind } from '../../runtime/spans.js';
import { type Operation, operationsOf } from './operation.js';
import type { RecordedStep } from './recording.js';

export interface OperationTime {
  /** A kernel; or an instruction that runs none: update, reduce, send, receive, load, zero. */
  readonly name: string;
  /** '' for instructions. */
  readonly program: ProgramKind | '';
  readonly shapes: string;
  /** The layers it occurs in. */
  readonly layers: readonly string[];
  /** Runs and seconds of all ranks in one step, on average. */
  readonly runsPerStep: number;
  readonly secondsPerStep: number;
  /** Of the step's seconds of all ranks. */
  readonly share: number;
  /** Achieved; undefined where no operations (bytes) are counted. */
  readonly flopsPerSecond?: number;
  readonly bytesPerSecond?: number;
}

export interface TopOperations {
  readonly numSteps: number;
  readonly numRanks: number;
  /** Of one rank, on average. */
  readonly stepSeconds: number;
  readonly operations: readonly OperationTime[];
  /** Of the step, what is in none of `operations`: between kernels, copying results. */
  readonly otherShare: number;
}

interface Sum {
  readonly name: string;
  readonly program: ProgramKind | '';
  readonly shapes: string;
  readonly layers: Set<string>;
  runs: number;
  seconds: number;
  flops: number;
  bytes: number;
}

/** `ranks`: by rank, then step, in step with `plans`; every rank has the same number of steps, at least one. */
export function topOperations(plans: readonly RankPlan[], ranks: readonly (readonly RecordedStep[])[]): TopOperations {
  const sums = new Map<string, Sum>();
  const add = (
    about: Pick<Operation, 'program' | 'shapes' | 'flops' | 'bytes'> | undefined,
    name: string,
    layer: string,
    seconds: number,
  ) => {
    const { program = '', shapes = '', flops = 0, bytes = 0 } = about ?? {};
    const key = `${program} ${name} ${shapes}`;
    const sum = sums.get(key) ?? { name, program, shapes, layers: new Set(), runs: 0, seconds: 0, flops: 0, bytes: 0 };
    sums.set(key, sum);
    if (layer !== '') sum.layers.add(layer);
    sum.runs++;
    sum.seconds += seconds;
    sum.flops += flops;
    sum.bytes += bytes;
  };
  let stepSeconds = 0;
  for (const [rank, { executable, spans }] of ranks.flatMap((steps, index) =>
    steps.map((step) => [index, step] as const),
  )) {
    const operation = operationsOf(executable, plans[rank]!.parameters);
    for (const span of spans) {
      const seconds = span.end - span.begin;
      if (span.kind === 'step') stepSeconds += seconds;
      if (span.kind === 'node') {
        const found = operation(span);
        add(found, found.kernel, found.layer, seconds);
      }
      if (span.kind !== 'instruction') continue;
      const { kind } = executable.schedule[span.index]!;
      if (!executable.programs.some((program) => program.kind === kind)) add(undefined, kind, '', seconds);
    }
  }
  const numRanks = ranks.length;
  const numSteps = ranks[0]?.length ?? 0;
  const operations = [...sums.values()]
    .sort((a, b) => b.seconds - a.seconds)
    .map((sum): OperationTime => {
      const { name, program, shapes, layers, runs, seconds, flops, bytes } = sum;
      return {
        name,
        program,
        shapes,
        layers: [...layers],
        runsPerStep: runs / numSteps,
        secondsPerStep: seconds / numSteps,
        share: seconds / stepSeconds,
        ...(flops > 0 ? { flopsPerSecond: flops / seconds } : bytes > 0 ? { bytesPerSecond: bytes / seconds } : {}),
      };
    });
  return {
    numSteps,
    numRanks,
    stepSeconds: stepSeconds / (numSteps * numRanks),
    operations,
    otherShare: 1 - operations.reduce((sum, { share }) => sum + share, 0),
  };
}

const SHOWN = 20;

/** The table `merak launch --profile` prints. */
export function renderTopOperations(top: TopOperations): string {
  const { operations, numRanks, numSteps } = top;
  const rows = operations
    .slice(0, SHOWN)
    .map((one) => [
      [one.name, one.program].filter((part) => part !== '').join(' '),
      String(Number(one.runsPerStep.toFixed(1))),
      (one.secondsPerStep * 1e3).toFixed(2),
      `${(one.share * 100).toFixed(1)} %`,
      rateOf(one),
      one.shapes,
      layersOf(one.layers),
    ]);
  const rest = operations.slice(SHOWN);
  const restShare = rest.reduce((sum, { share }) => sum + share, 0);
  const ranks = numRanks === 1 ? '1 rank' : `${numRanks} ranks`;
  return [
    `profile of ${numSteps === 1 ? '1 step' : `${numSteps} steps`}, ${(top.stepSeconds * 1e3).toFixed(1)} ms each on ${ranks}; runs and ms per step${numRanks === 1 ? '' : ' of all ranks together'}`,
    ...aligned([['operation', 'runs', 'ms', 'share', 'rate', 'shapes', 'layers'], ...rows]),
    `${rest.length} others ${(restShare * 100).toFixed(1)} %, between operations ${(top.otherShare * 100).toFixed(1)} %`,
  ].join('\n');
}

function rateOf({ flopsPerSecond, bytesPerSecond }: OperationTime): string {
  if (flopsPerSecond !== undefined) return `${(flopsPerSecond / 1e9).toFixed(0)} GFLOP/s`;
  return bytesPerSecond === undefined ? '' : `${(bytesPerSecond / 1e9).toFixed(1)} GB/s`;
}

function layersOf(layers: readonly string[]): string {
  return layers.length <= 2 ? layers.join(', ') : `${layers[0]}, ... (${layers.length})`;
}

/** Figures to the right, words to the left. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column >= 1 && column <= 4 ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd(),
  );
}
