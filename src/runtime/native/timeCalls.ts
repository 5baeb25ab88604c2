/** A stopwatch for kernels as a rank sees them: on all ranks of the machine at once, on operands no longer in the first caches. */
import { nodeBytes, nodeFlops } from '../../graph/cost.js';
import type { KernelCall } from '../../graph/kernelCall.js';
import type { Instruction, ProgramNode, ProgramValue } from '../../plan/plan.js';
import type { ArenaHandle } from '../device.js';
import { watchOthers } from '../othersLoad.js';
import { decodeSpans } from '../spans.js';
import { loadAddon } from './addon.js';
import { NativeDevice } from './device.js';
import { executableOf, meetingPlan, NO_SLOTS, specOf, type TimedProgram, timedProgram } from './timedProgram.js';

export interface TimeCallsOptions {
  /** That measure at the same time, each on cores of its own. */
  readonly ranks: number;
  /** Of each rank. */
  readonly threads: number;
}

/** A call's operands go round in so many bytes: more than second-level caches hold, less than third-level ones. */
const ROTATED_BYTES = 1 << 23;
/** Of one round of one call, about; and never fewer runs or more. */
const [ROUND_SECONDS, LEAST_RUNS, MOST_RUNS] = [0.02, 5, 400];
/** What decides how often a call runs, not what is measured: FLOP/s and bytes/s of a slow core. */
const [GUESSED_FLOPS, GUESSED_BYTES] = [3e10, 1e10];
/** Rounds of all calls, one after the other, until so many were undisturbed; or until all have taken too long. */
const [QUIET_ROUNDS, PATIENCE_SECONDS] = [4, 15];
/** Cores that other processes may have in an undisturbed round. */
const QUIET = 0.05;
const FILLER = 0.5;

/**
 * Seconds of each call, null for what the engine cannot run; in the fastest round, the median of its runs on the slowest rank,
 * for which the others wait wherever they meet. The ranks meet before each call. Raises engine/unsupported without the addon.
 */
export async function timeCalls(
  calls: readonly KernelCall[],
  { ranks, threads }: TimeCallsOptions,
): Promise<(number | null)[]> {
  const addon = loadAddon();
  const runnable = calls.filter((call) => addon.supports(specOf(call)) === '');
  const programs = runnable.map((call) =>
    timedProgram(call, { numRuns: numRuns(call), rotatedBytes: ROTATED_BYTES, fill }),
  );
  const executable = executableOf('calls', programs, schedule(programs, ranks > 1));
  const devices = Array.from({ length: ranks }, () => new NativeDevice({ threads }));
  const handles: ArenaHandle[] = [];
  const fastest = new Map<KernelCall, number>();
  try {
    for (const [rank, device] of devices.entries()) {
      handles.push(...(await device.open(meetingPlan(rank, ranks))), ...(await device.load(executable)));
    }
    for (const device of devices) await device.connect(handles);
    const start = performance.now();
    const isLate = () => performance.now() - start > PATIENCE_SECONDS * 1e3;
    for (let [round, quiet] = [0, 0]; round < 2 || (quiet < QUIET_ROUNDS && !isLate()); round++) {
      const othersSince = watchOthers();
      const input = { step: 0, seed: 0, learningRate: 0, inputs: new Map(), timeoutSeconds: 600, record: true };
      const results = await Promise.all(devices.map((device) => device.run(executable.name, input)));
      const byRank = results.map(({ spans = new Float64Array(0) }) => {
        const seconds = runnable.map((): number[] => []);
        for (const span of decodeSpans(spans)) {
          if (span.kind !== 'node' || span.index < (programs[span.chunk]?.numFills ?? 0)) continue;
          seconds[span.chunk]?.push(span.end - span.begin);
        }
        return seconds.map(median);
      });
      // The first round touches memory for the first time.
      if (round === 0) continue;
      if (othersSince() <= QUIET) quiet++;
      for (const [index, call] of runnable.entries()) {
        const slowest = Math.max(...byRank.map((medians) => medians[index] ?? Number.NaN));
        fastest.set(call, Math.min(fastest.get(call) ?? Number.POSITIVE_INFINITY, slowest));
      }
    }
  } finally {
    for (const device of devices) device.close();
  }
  return calls.map((call) => fastest.get(call) ?? null);
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.POSITIVE_INFINITY;
}

function numRuns({ graph, node }: KernelCall): number {
  const guessed = nodeFlops(graph, node) / GUESSED_FLOPS + nodeBytes(graph, node) / GUESSED_BYTES;
  return Math.min(MOST_RUNS, Math.max(LEAST_RUNS, Math.round(ROUND_SECONDS / guessed)));
}

function fill({ shape, dtype }: ProgramValue, id: number): ProgramNode[] {
  const attrs = { shape: [...shape], dtype, value: dtype === 'float32' ? FILLER : 0 };
  return [{ kernel: 'Fill', inputs: [], inputNames: [], outputs: [id], attrs, scope: '' }];
}

/** All ranks meet before each call. */
function schedule(programs: readonly TimedProgram[], meets: boolean): Instruction[] {
  return programs.flatMap((_, chunk): Instruction[] => [
    ...(meets ? [{ kind: 'reduceState' } as const] : []),
    { kind: 'forward', micro: 0, chunk, slots: NO_SLOTS },
  ]);
}
