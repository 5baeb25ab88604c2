/** Everything a search may choose from: degrees, micro-batches, schedules, recomputation. */
import { MerakError } from '../../errors.js';
import { canHaveChunks, numChunksOf } from '../../pipeline/registry.js';
import type { Mesh } from '../../plan/plan.js';
import type { RecomputeMode } from '../../recompute/saved.js';
import type { SequenceParallel } from '../../tensorparallel/search.js';

/** What the user fixed; the rest is searched. */
export interface Pinned {
  readonly dp?: number | undefined;
  readonly tp?: number | undefined;
  readonly pp?: number | undefined;
  readonly numMicroBatches?: number | undefined;
  readonly schedule?: string | undefined;
  readonly numChunks?: number | undefined;
  readonly recompute?: RecomputeMode | undefined;
  readonly shardOptimizer?: boolean | undefined;
  readonly subBatches?: number | undefined;
  readonly sequenceParallel?: SequenceParallel | undefined;
}

/** One way to train: enough for `buildPlan`. */
export interface LayoutChoice {
  readonly mesh: Mesh;
  readonly numMicroBatches: number;
  readonly microBatchSize: number;
  readonly schedule: string;
  /** Model chunks per stage. */
  readonly numChunks: number;
  readonly recompute: RecomputeMode;
  /** Whether replicas split the optimizer state among them (ZeRO-1). */
  readonly shardOptimizer: boolean;
  /** Into which a micro-batch is split to overlap the exchanges of the tensor axis; 1 without such an axis. */
  readonly subBatches: number;
  /** Whether the tensor axis splits the sequence between the products; 'off' without such an axis. */
  readonly sequenceParallel: SequenceParallel;
}

/** Schedules that plans can run, simplest first: of equals the first wins. */
export const SCHEDULES: readonly string[] = ['1f1b', 'scp', '1f1b-early', 'zb-h1', 'interleaved', 'zb-v'];
/** Schedules that differ from 1F1B only in when they recompute. */
const ONLY_FOR_RECOMPUTATION: ReadonlySet<string> = new Set(['scp', '1f1b-early']);
/** Micro-batch sizes tried; each needs a trace of the model. */
const MAX_SIZES = 8;
const LARGEST_SIZE = 256;
/** Tensor ranks meet in every layer: spread over more hosts than this they never win. */
const MAX_HOSTS_PER_TENSOR_GROUP = 2;

/**
 * All choices whose degrees multiply to `workers` and whose micro-batches fill the batch. `auto` beside `none`, and a
 * sharded optimizer beside a whole one: they save memory and only count where it is short.
 *
 * @throws MerakError 'config/degrees' or 'config/batch' when what is pinned leaves nothing.
 */
export function candidateChoices(
  workers: number,
  batchSize: number,
  devicesPerHost: number,
  pinned: Pinned,
): LayoutChoice[] {
  const meshes = meshesOf(workers, pinned, MAX_HOSTS_PER_TENSOR_GROUP * devicesPerHost);
  if (meshes.length === 0) {
    const product = `pp ${pinned.pp ?? '?'} x dp ${pinned.dp ?? '?'} x tp ${pinned.tp ?? '?'}`;
    throw new MerakError('config/degrees', 'the degrees do not multiply to the number of workers', {
      expected: `${workers} workers`,
      received: product,
      hint: `choose degrees whose product is ${workers}, or leave one out`,
    });
  }
  const sizes = microBatchSizes(batchSize, meshes, pinned);
  const choices = meshes.flatMap((mesh) =>
    divisors(batchSize / mesh.dp)
      .filter((size) => Number.isInteger(batchSize / mesh.dp) && sizes.has(size))
      .flatMap((microBatchSize) => {
        const numMicroBatches = batchSize / mesh.dp / microBatchSize;
        if (pinned.numMicroBatches !== undefined && pinned.numMicroBatches !== numMicroBatches) return [];
        const tensorWays = waysOfTensors(mesh, microBatchSize, pinned);
        return waysToRun(mesh, pinned).flatMap((way) =>
          tensorWays.map((tensors): LayoutChoice => ({ mesh, numMicroBatches, microBatchSize, ...way, ...tensors })),
        );
      }),
  );
  if (choices.length > 0) return choices;
  throw new MerakError('config/batch', `a batch of ${batchSize} does not split as asked`, {
    path: 'batchSize',
    expected: `a multiple of ${(pinned.dp ?? 1) * (pinned.numMicroBatches ?? 1)}`,
    received: String(batchSize),
    hint: 'change the batch size, dp or micro-batches',
  });
}

function meshesOf(workers: number, pinned: Pinned, maxTensorRanks: number): Mesh[] {
  const degrees = divisors(workers).filter((tp) => tp === pinned.tp || tp <= maxTensorRanks);
  return degrees.flatMap((tp) =>
    divisors(workers / tp).flatMap((pp): Mesh[] => {
      const mesh = { pp, dp: workers / tp / pp, tp };
      const needsTensors = (pinned.subBatches ?? 1) > 1 || pinned.sequenceParallel === 'on';
      const fits =
        (['pp', 'dp', 'tp'] as const).every((axis) => pinned[axis] === undefined || pinned[axis] === mesh[axis]) &&
        (tp > 1 || pinned.tp !== undefined || !needsTensors);
      return fits ? [mesh] : [];
    }),
  );
}

/** Sizes on a geometric grid when there are many, and always those that the pinned number of micro-batches leads to. */
function microBatchSizes(batchSize: number, meshes: readonly Mesh[], pinned: Pinned): ReadonlySet<number> {
  const replicas = [...new Set(meshes.map(({ dp }) => dp))].filter((dp) => batchSize % dp === 0);
  const count = pinned.numMicroBatches;
  if (count !== undefined) {
    return new Set(replicas.map((dp) => batchSize / dp / count).filter((size) => Number.isInteger(size)));
  }
  const all = [...new Set(replicas.flatMap((dp) => divisors(batchSize / dp)))].sort((a, b) => a - b);
  const small = all.filter((size) => size <= LARGEST_SIZE);
  if (small.length <= MAX_SIZES) return new Set(small);
  const largest = small.at(-1) ?? 1;
  const grid = Array.from({ length: MAX_SIZES }, (_, index) => largest ** (index / (MAX_SIZES - 1)));
  const nearest = (target: number) =>
    small.reduce((best, size) => (Math.abs(Math.log(size / target)) < Math.abs(Math.log(best / target)) ? size : best));
  return new Set(grid.map(nearest));
}

type Way = Pick<LayoutChoice, 'schedule' | 'numChunks' | 'recompute' | 'shardOptimizer'>;

function waysToRun(mesh: Mesh, pinned: Pinned): Way[] {
  const names = schedulesFor(mesh, pinned);
  const modes: readonly RecomputeMode[] = pinned.recompute !== undefined ? [pinned.recompute] : ['none', 'auto'];
  const shards =
    mesh.dp === 1 ? [false] : pinned.shardOptimizer !== undefined ? [pinned.shardOptimizer] : [false, true];
  return names.flatMap((schedule) =>
    modes
      .filter((mode) => mode !== 'none' || pinned.schedule !== undefined || !ONLY_FOR_RECOMPUTATION.has(schedule))
      .flatMap((recompute) => {
        const numChunks = numChunksOf(schedule, mesh.pp === 1 && pinned.schedule === undefined ? 1 : pinned.numChunks);
        return shards.map((shardOptimizer): Way => ({ schedule, numChunks, recompute, shardOptimizer }));
      }),
  );
}

/** Sub-batches that are tried where nobody pins them. */
const SUB_BATCHES = [1, 2, 4];

type TensorWay = Pick<LayoutChoice, 'subBatches' | 'sequenceParallel'>;

function waysOfTensors({ tp }: Mesh, microBatchSize: number, pinned: Pinned): TensorWay[] {
  if (tp === 1) return [{ subBatches: pinned.subBatches ?? 1, sequenceParallel: pinned.sequenceParallel ?? 'off' }];
  const counts =
    pinned.subBatches !== undefined ? [pinned.subBatches] : SUB_BATCHES.filter((count) => microBatchSize % count === 0);
  const modes: readonly SequenceParallel[] =
    pinned.sequenceParallel !== undefined ? [pinned.sequenceParallel] : ['off', 'on'];
  return modes.flatMap((sequenceParallel) => counts.map((subBatches): TensorWay => ({ subBatches, sequenceParallel })));
}

/** Chunks asked for leave the schedules that can have as many. */
function schedulesFor(mesh: Mesh, { schedule, numChunks }: Pinned): readonly string[] {
  if (schedule !== undefined) return [schedule];
  if (mesh.pp === 1) return ['1f1b'];
  return numChunks === undefined ? SCHEDULES : SCHEDULES.filter((name) => canHaveChunks(name, numChunks));
}

function divisors(number: number): number[] {
  if (!Number.isInteger(number)) return [];
  return Array.from({ length: number }, (_, index) => index + 1).filter((candidate) => number % candidate === 0);
}
