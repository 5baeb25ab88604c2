/** The persistent arena of a rank: parameters, gradients, optimizer moments, and how they are reduced. */
import { elementBytes, numElements } from '../graph/cost.js';
import { layOutSpaces, packSequentially } from './memory.js';
import { coordinatesOf, reductionGroup } from './mesh.js';
import type { Bucket, Group, Mesh, OptimizerPlan, ParameterPlan, RankParameter, SpacePlan } from './plan.js';

export interface PersistentLayout {
  readonly parameters: readonly RankParameter[];
  readonly spaces: readonly SpacePlan[];
  readonly totalBytes: number;
  readonly gradientBuckets: readonly Bucket[];
  readonly stateBuckets: readonly Bucket[];
}

export interface PersistentInput {
  readonly mesh: Mesh;
  readonly rank: number;
  readonly groups: readonly Group[];
  readonly parameters: readonly ParameterPlan[];
  /** Per parameter: its shape on one tp rank. */
  readonly localShapes: readonly (readonly number[])[];
  /** Per parameter: whether the forward pass writes it (batch-norm statistics). */
  readonly updated: readonly boolean[];
  readonly optimizer: OptimizerPlan;
  readonly numMicroBatches: number;
}

/** Moments the optimizer keeps per trainable parameter (docs/kernels.md): adam m, v; rmsprop s, mom[, mg]. */
export function numMoments(optimizer: OptimizerPlan): number {
  if (optimizer.kind === 'adam') return 2;
  if (optimizer.kind === 'rmsprop') return optimizer.centered ? 3 : 2;
  return optimizer.kind === 'momentum' ? 1 : 0;
}

/**
 * Parameters of the rank's stage in plan order. In memory they are sorted by reduction group, so that a group's
 * gradients are one contiguous run and one bucket; gradients and each moment repeat that order. Gradients, and state
 * written by the forward pass, are averaged over the data axis.
 */
export function layOutParameters(input: PersistentInput): PersistentLayout {
  const { mesh, rank, groups, optimizer } = input;
  const { pp, tp } = coordinatesOf(mesh, rank);
  const held = input.parameters.flatMap((parameter, index) => {
    if (!parameter.stages.includes(pp)) return [];
    const shape = input.localShapes[index] ?? parameter.shape;
    const group = reductionGroup(groups, mesh, rank, parameter.stages).id;
    const state = !parameter.trainable && (input.updated[index] ?? false);
    return [{ parameter, index, shape, group, state, bytes: numElements(shape) * elementBytes(parameter.dtype) }];
  });
  const order = (a: (typeof held)[number], b: (typeof held)[number]) =>
    Number(b.parameter.trainable) - Number(a.parameter.trainable) ||
    Number(b.state) - Number(a.state) ||
    a.group - b.group ||
    a.index - b.index;
  const sorted = [...held].sort(order);
  const trainable = sorted.filter((entry) => entry.parameter.trainable);
  const values = packSequentially(sorted.map((entry) => entry.bytes));
  const gradients = packSequentially(trainable.map((entry) => entry.bytes));
  const moments = numMoments(optimizer);
  const offsetOf = new Map(sorted.map((entry, at) => [entry.index, values.offsets[at] ?? 0]));
  const gradientOf = new Map(trainable.map((entry, at) => [entry.index, gradients.offsets[at] ?? 0]));

  const parameters = held.map(({ parameter, index, shape }): RankParameter => {
    const gradientOffset = gradientOf.get(index) ?? -1;
    const sharded = parameter.layout.kind === 'shard' && mesh.tp > 1;
    return {
      parameter: index,
      name: parameter.name,
      shape,
      dtype: parameter.dtype,
      trainable: parameter.trainable,
      offset: offsetOf.get(index) ?? 0,
      gradientOffset,
      momentOffsets:
        gradientOffset < 0
          ? []
          : Array.from({ length: moments }, (_, moment) => moment * gradients.totalBytes + gradientOffset),
      countsInNorm: parameter.trainable && parameter.stages[0] === pp && (sharded || tp === 0),
      decays: parameter.trainable && parameter.shape.length >= 2,
    };
  });
  const { spaces, totalBytes } = layOutSpaces([
    { space: 'parameters', bytesPerSlot: values.totalBytes, numSlots: 1 },
    { space: 'gradients', bytesPerSlot: gradients.totalBytes, numSlots: 1 },
    { space: 'optimizer', bytesPerSlot: gradients.totalBytes * moments, numSlots: 1 },
  ]);
  const states = sorted.filter((entry) => entry.state);
  return {
    parameters,
    spaces,
    totalBytes,
    gradientBuckets: bucketsOf(trainable, gradientOf, 1 / mesh.dp),
    stateBuckets: mesh.dp > 1 ? bucketsOf(states, offsetOf, 1 / mesh.dp) : [],
  };
}

/** Neighbours of one group merge into one run; the padding between them goes along and stays zero. */
function bucketsOf(
  entries: readonly { index: number; group: number; shape: readonly number[] }[],
  offsetOf: ReadonlyMap<number, number>,
  scale: number,
): Bucket[] {
  const buckets: Bucket[] = [];
  for (const { index, group, shape } of entries) {
    const offset = offsetOf.get(index) ?? 0;
    const end = offset / 4 + numElements(shape);
    const last = buckets.at(-1);
    if (last?.group === group) buckets[buckets.length - 1] = { ...last, length: end - last.offset / 4 };
    else buckets.push({ group, offset, length: end - offset / 4, scale });
  }
  return buckets;
}
