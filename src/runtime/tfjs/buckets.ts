/** All-reduce of buckets: contiguous runs of gradients or parameters, and the global gradient norm. */
import * as tf from '@tensorflow/tfjs';
import type { Bucket, RankParameter, RankPlan } from '../../plan/plan.js';
import type { HostArray } from '../device.js';
import { restoreBackend } from './backend.js';
import { groupById, groupOf, type StepContext } from './context.js';
import { makeTensor, readTensor, viewBytes } from './hostData.js';

/** Sums each bucket of `space` over its group, times the bucket's scale and `factor`. */
export async function reduceBuckets(
  context: StepContext,
  space: 'gradients' | 'parameters',
  buckets: readonly Bucket[],
  factor: number,
): Promise<void> {
  const { storage, communicator, plan, backend } = context;
  for (const bucket of buckets) {
    const members = storage
      .entries(space, 0)
      .filter(
        ([offset, tensor]) =>
          tensor.dtype === 'float32' && offset >= bucket.offset && offset < bucket.offset + bucket.length * 4,
      );
    const group = groupById(plan, bucket.group);
    const scale = bucket.scale * factor;
    if (group === undefined) {
      restoreBackend(backend);
      if (scale === 1) continue;
      for (const [offset, tensor] of members) storage.set(space, 0, offset, tf.mul(tensor, scale));
      continue;
    }
    const packed = new Float32Array(bucket.length);
    for (const [offset, tensor] of members) packed.set(await readTensor(tensor), (offset - bucket.offset) / 4);
    const summed = await communicator.allReduce(group, packed, 'sum');
    if (scale !== 1) for (let i = 0; i < summed.length; i++) summed[i] = (summed[i] ?? 0) * scale;
    restoreBackend(backend);
    for (const [offset, tensor] of members) {
      const start = (offset - bucket.offset) / 4;
      storage.set(space, 0, offset, makeTensor(summed.subarray(start, start + tensor.size), tensor.shape, 'float32'));
    }
  }
}

/** Whether every data replica updates a piece of the parameters only. */
export function shardsOptimizer(plan: RankPlan): boolean {
  return plan.gradientBuckets.some(({ pieceLength }) => pieceLength !== undefined);
}

/** With a sharded optimizer: every replica's updated pieces of the parameters to every other. */
export async function gatherParameters(context: StepContext): Promise<void> {
  const { plan, storage, communicator, backend } = context;
  const group = groupOf(plan, 'dp');
  if (group === undefined) return;
  for (const bucket of plan.gradientBuckets) {
    if (bucket.pieceLength === undefined) continue;
    const packed = new Float32Array(bucket.length);
    const members = plan.parameters.flatMap(({ offset, gradientOffset }): [number, tf.Tensor][] => {
      const inside = gradientOffset >= bucket.offset && gradientOffset < bucket.offset + bucket.length * 4;
      const tensor = inside ? storage.get('parameters', 0, offset) : undefined;
      return tensor === undefined || tensor.size === 0 ? [] : [[offset, tensor]];
    });
    for (const [offset, tensor] of members) packed.set(await readTensor(tensor), (offset - bucket.offset) / 4);
    const start = plan.coordinates.dp * bucket.pieceLength;
    const piece = packed.slice(start, start + bucket.pieceLength);
    const pieces = await communicator.allGather(group, viewBytes(piece));
    for (const [replica, bytes] of pieces.entries())
      packed.set(new Float32Array(bytes.slice().buffer), replica * bucket.pieceLength);
    restoreBackend(backend);
    for (const [offset, tensor] of members) {
      const from = (offset - bucket.offset) / 4;
      storage.set(
        'parameters',
        0,
        offset,
        makeTensor(packed.subarray(from, from + tensor.size), tensor.shape, 'float32'),
      );
    }
  }
}

/**
 * sqrt of the sum of g^2 over all logical parameters. Without a sharded optimizer every data-parallel replica holds the same
 * gradients, so that the sum over the world counts each `dp` times. Accumulated in float64, ranks in order.
 */
export async function gradientNorm(context: StepContext, parameters: readonly RankParameter[]): Promise<number> {
  const { plan, communicator, backend } = context;
  let squares = 0;
  for (const parameter of parameters) {
    const gradient = parameter.countsInNorm ? gradientOf(context, parameter) : undefined;
    if (gradient === undefined) continue;
    const { begin = 0, end = gradient.size } = parameter.owned ?? {};
    squares += sumOfSquares((await readTensor(gradient)).subarray(begin, end));
  }
  // Said of this rank's own sum: one without gradients cannot know whether others have theirs in pieces.
  if (!shardsOptimizer(plan)) squares /= plan.mesh.dp;
  const world = groupOf(plan, 'world');
  if (world !== undefined) {
    const parts = await communicator.allGather(world, new Uint8Array(Float64Array.of(squares).buffer));
    squares = parts.reduce((sum, part) => sum + (new Float64Array(part.slice().buffer)[0] ?? 0), 0);
  }
  restoreBackend(backend);
  return Math.sqrt(squares);
}

export function gradientOf({ storage }: StepContext, parameter: RankParameter): tf.Tensor | undefined {
  return parameter.gradientOffset < 0 ? undefined : storage.get('gradients', 0, parameter.gradientOffset);
}

function sumOfSquares(data: HostArray): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += (data[i] ?? 0) ** 2;
  return sum;
}
