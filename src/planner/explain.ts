/** A plan for people: what `merak plan` prints, and the same as data. */
import { drawSchedule } from '../pipeline/draw.js';
import { numVirtualStages, placeOf } from '../pipeline/virtualStages.js';
import { formatBytes, memoryReport, type RankMemory } from '../plan/memoryReport.js';
import { chunkLayoutOf, rankOf } from '../plan/mesh.js';
import type { Coordinates, Mesh, Plan, StageSummary } from '../plan/plan.js';
import { describeLayout } from '../tensorparallel/shards.js';
import { missingKernels } from './fallback.js';

export interface PlanReport {
  readonly mesh: Mesh;
  readonly schedule: string;
  /** Model chunks per stage. */
  readonly numChunks: number;
  readonly numMicroBatches: number;
  readonly microBatchSize: number;
  /** dp x numMicroBatches x microBatchSize */
  readonly batchSize: number;
  /** Logical elements of all parameters, each once. */
  readonly numParameters: number;
  readonly stages: readonly StageSummary[];
  readonly ranks: readonly (RankMemory & { readonly coordinates: Coordinates })[];
  readonly sharded: readonly { readonly name: string; readonly layout: string }[];
  /** Parameters that several stages hold. */
  readonly tied: readonly { readonly name: string; readonly stages: readonly number[] }[];
  /** Kernels of the plan that the native engine lacks: with any, the plan runs on the tfjs runtime. */
  readonly fallbackKernels: readonly string[];
  readonly timeline: string;
}

/** `nativeKernels`: what the native engine has; undefined when it is not there or not wanted. */
export function planReport(plan: Plan, nativeKernels?: ReadonlySet<string>): PlanReport {
  const { mesh, numMicroBatches, microBatchSize } = plan;
  const memory = memoryReport(plan);
  return {
    mesh,
    schedule: plan.scheduleName,
    numChunks: plan.numChunks ?? 1,
    numMicroBatches,
    microBatchSize,
    batchSize: mesh.dp * numMicroBatches * microBatchSize,
    numParameters: plan.parameters.reduce((sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1), 0),
    stages: plan.stages,
    ranks: plan.ranks.map(({ coordinates }, rank) => ({ ...memory[rank]!, coordinates })),
    sharded: plan.parameters
      .filter(({ layout }) => layout.kind !== 'replicate')
      .map(({ name, layout, shape }) => ({ name, layout: describeLayout(layout, shape) })),
    tied: plan.parameters.filter(({ stages }) => stages.length > 1).map(({ name, stages }) => ({ name, stages })),
    fallbackKernels: nativeKernels === undefined ? [] : missingKernels(plan, nativeKernels),
    timeline: timelineOf(plan),
  };
}

/** The report as text; `reason` is the sentence of `chooseDegrees`, when it chose. */
export function explainPlan(plan: Plan, reason?: string, nativeKernels?: ReadonlySet<string>): string {
  const report = planReport(plan, nativeKernels);
  const { pp, dp, tp } = report.mesh;
  const communicates = report.ranks.some(({ communicatorBytes }) => communicatorBytes > 0);
  const lines = [
    `mesh        pp ${pp} x dp ${dp} x tp ${tp} = ${pp * dp * tp} ${pp * dp * tp === 1 ? 'worker' : 'workers'}`,
    ...(reason === undefined ? [] : [`chosen      ${reason}`]),
    `batch       ${report.batchSize} = ${dp} replicas x ${report.numMicroBatches} micro-batches x ${report.microBatchSize}`,
    `schedule    ${report.schedule}${report.numChunks > 1 ? `, ${report.numChunks} chunks per stage` : ''}`,
    `parameters  ${formatCount(report.numParameters)}`,
    '',
    ...table([
      ['stage', 'parameters', 'forward', 'backward', 'sent/step', 'reduced/step', 'peak', 'recompute', 'layers'],
      ...report.stages.map((stage) => [
        String(stage.stage),
        `${formatCount(stage.numParameters)} (${formatBytes(stage.parameterBytes)})`,
        formatFlops(stage.forwardFlops),
        formatFlops(stage.backwardFlops),
        formatBytes(stage.sendBytes),
        formatBytes(stage.allReduceBytes),
        formatBytes(stage.peakBytes),
        stage.recompute,
        abbreviate(stage.layers),
      ]),
    ]),
    '  (parameters, FLOPs per micro-batch and bytes are those of one rank)',
    '',
    ...table([
      [
        'rank',
        'pp dp tp',
        'persistent',
        ...Object.keys(report.ranks[0]?.executables ?? {}),
        'workspace',
        ...(communicates ? ['NCCL'] : []),
        'total',
      ],
      ...report.ranks.map((rank) => [
        String(rank.rank),
        `${rank.coordinates.pp}  ${rank.coordinates.dp}  ${rank.coordinates.tp}`,
        formatBytes(rank.persistentBytes),
        ...Object.values(rank.executables).map(formatBytes),
        formatBytes(rank.workspaceBytes),
        ...(communicates ? [formatBytes(rank.communicatorBytes)] : []),
        formatBytes(rank.peakBytes),
      ]),
    ]),
    ...section('sharded over tp', alike(report.sharded.map(({ name, layout }) => `${name}: ${layout}`))),
    ...section(
      'tied',
      report.tied.map(({ name, stages }) => `${name}: held by stages ${stages.join(', ')}`),
    ),
    ...section(
      'not on the native engine: with these the plan runs on the tfjs runtime',
      report.fallbackKernels.length === 0 ? [] : [report.fallbackKernels.join(', ')],
    ),
    ...section('schedule (forward 1, recompute 1, backward 2 units)', pp > 1 ? report.timeline.split('\n') : []),
  ];
  return lines.join('\n');
}

function timelineOf(plan: Plan): string {
  const layout = chunkLayoutOf(plan);
  const virtualStages = Array.from({ length: numVirtualStages(layout) }, (_, virtual) => virtual);
  return drawSchedule(
    {
      name: plan.scheduleName,
      ...layout,
      numMicroBatches: plan.numMicroBatches,
      stages: plan.schedule,
    },
    { recomputes: virtualStages.map((virtual) => recomputesAll(plan, placeOf(layout, virtual))) },
  );
}

/** Whether a chunk runs its whole forward pass again: it has a program to, and keeps nothing for backward to read. */
function recomputesAll(plan: Plan, { stage, chunk }: { readonly stage: number; readonly chunk: number }): boolean {
  const programs = plan.ranks[rankOf(plan.mesh, { pp: stage, dp: 0, tp: 0 })]?.executables[0]?.programs ?? [];
  const ofChunk = programs.filter((program) => (program.chunk ?? 0) === chunk);
  const readsKept = ofChunk.some(
    ({ kind, values }) => kind !== 'forward' && values.some(({ space }) => space === 'saved'),
  );
  return ofChunk.some(({ kind }) => kind === 'recompute') && !readsKept;
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', title, ...lines.map((line) => `  ${line}`)];
}

/** Lines that differ only in the layer's number become one, with a star in its place and a count. */
function alike(lines: readonly string[]): string[] {
  const counts = new Map<string, { line: string; count: number }>();
  for (const line of lines) {
    const pattern = line.replace(/\d+(?=[^:]*:)/g, '#');
    counts.set(pattern, { line, count: (counts.get(pattern)?.count ?? 0) + 1 });
  }
  return [...counts].map(([pattern, { line, count }]) => (count === 1 ? line : `${pattern} (${count} times)`));
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function abbreviate(layers: readonly string[]): string {
  if (layers.length <= 6) return layers.join(', ');
  return `${layers.slice(0, 3).join(', ')}, ... ${layers.length - 5} more ..., ${layers.slice(-2).join(', ')}`;
}

function formatCount(count: number): string {
  if (count >= 999.5e6) return `${(count / 1e9).toFixed(2)} B`;
  if (count >= 999.5e3) return `${(count / 1e6).toFixed(2)} M`;
  return count >= 10e3 ? `${(count / 1e3).toFixed(1)} k` : String(count);
}

function formatFlops(flops: number): string {
  const units = ['FLOP', 'kFLOP', 'MFLOP', 'GFLOP', 'TFLOP', 'PFLOP'];
  let [value, unit] = [flops, 0];
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value >= 99.95 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
