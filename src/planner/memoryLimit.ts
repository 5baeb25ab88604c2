/** Refuses a plan that does not fit, before anything starts, and says what would. */
import { MerakError } from '../errors.js';
import { formatBytes, memoryReport } from '../plan/memoryReport.js';
import type { Mesh, Plan } from '../plan/plan.js';
import type { RecomputeMode } from '../recompute/saved.js';

/** A change of the request, and how a user asks for it. */
export interface PlanChange {
  readonly recompute?: RecomputeMode;
  readonly mesh?: Mesh;
}

/**
 * @param replan builds the plan with a change, without a limit
 * @throws MerakError 'plan/out-of-memory' naming the rank, what takes the space, and a change that fits.
 */
export function checkMemory(plan: Plan, limitBytes: number, replan: (change: PlanChange) => Plan): void {
  const worst = largest(plan);
  if (worst.peakBytes <= limitBytes) return;
  const biggest = Object.entries(worst.spaces)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 3)
    .map(([space, bytes]) => `${space} ${formatBytes(bytes)}`);
  throw new MerakError('plan/out-of-memory', 'the plan needs more memory than a worker has', {
    path: `rank ${worst.rank}`,
    expected: `at most ${formatBytes(limitBytes)} (${limitBytes} bytes)`,
    received: `${formatBytes(worst.peakBytes)} (${worst.peakBytes} bytes): mostly ${biggest.join(', ')}`,
    hint: whatFits(plan, limitBytes, replan),
  });
}

/** Bytes of the fullest rank. */
export function largestPeakBytes(plan: Plan): number {
  return largest(plan).peakBytes;
}

function largest(plan: Plan) {
  return memoryReport(plan).reduce((worst, rank) => (rank.peakBytes > worst.peakBytes ? rank : worst));
}

/** Tries recomputation, then more stages, then more tensor shards; each candidate is really planned. */
function whatFits(plan: Plan, limitBytes: number, replan: (change: PlanChange) => Plan): string {
  const { mesh } = plan;
  const recomputing = plan.stages.some((stage) => stage.recompute === 'full');
  const candidates: [string, PlanChange][] = [
    ...(recomputing ? [] : ([['--recompute full', { recompute: 'full' }]] as [string, PlanChange][])),
    ...[2, 4].map((factor): [string, PlanChange] => [
      `--pp ${mesh.pp * factor} --recompute full (${factor} times the workers)`,
      { recompute: 'full', mesh: { ...mesh, pp: mesh.pp * factor } },
    ]),
    [
      `--tp ${mesh.tp * 2} --recompute full (twice the workers)`,
      { recompute: 'full', mesh: { ...mesh, tp: mesh.tp * 2 } },
    ],
  ];
  let smallest: { flags: string; bytes: number } | undefined;
  for (const [flags, change] of candidates) {
    const bytes = peakOf(change, replan);
    if (bytes <= limitBytes) return `${flags} fits: it needs ${formatBytes(bytes)} per worker`;
    if (smallest === undefined || bytes < smallest.bytes) smallest = { flags, bytes };
  }
  const closest = smallest !== undefined && Number.isFinite(smallest.bytes) ? smallest : undefined;
  const nearest = closest === undefined ? '' : `; ${closest.flags} still needs ${formatBytes(closest.bytes)}`;
  return `use a smaller batch or more micro-batches${nearest}`;
}

function peakOf(change: PlanChange, replan: (change: PlanChange) => Plan): number {
  try {
    return largest(replan(change)).peakBytes;
  } catch (error) {
    if (error instanceof MerakError) return Number.POSITIVE_INFINITY;
    throw error;
  }
}
