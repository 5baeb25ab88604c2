/** The persistent arena of a rank: parameters, gradients, optimizer moments, and how they are reduced. */
import { elementBytes, numElements } from '../graph/cost.js';
import { align, layOutSpaces, packSequentially } from './memory.js';
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
  readonly parameters: readonly (Omit<ParameterPlan, 'dtype'> & Pick<RankParameter, 'dtype'>)[];
  /** Per parameter: its shape on one tp rank. */
  readonly localShapes: readonly (readonly number[])[];
  /** Per parameter: whether the forward pass writes it (batch-norm statistics). */
  readonly updated: readonly boolean[];
  readonly optimizer: OptimizerPlan;
  /** ZeRO-1 (Rajbhandari et al., SC'20): every data replica keeps the moments of its piece only. Default false. */
  readonly shardOptimizer?: boolean | undefined;
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
 * written by the forward pass, are averaged over the data axis (devices also divide gradients by the micro-batches of
 * the executable that made them). With a sharded optimizer a bucket is padded to one equal piece per replica.
 */
export function layOutParameters(input: PersistentInput): PersistentLayout {
  const { mesh, rank, groups, optimizer } = input;
  const { pp, tp, dp } = coordinatesOf(mesh, rank);
  const numPieces = input.shardOptimizer === true ? mesh.dp : 1;
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
  const gradients = packRuns(trainable, numPieces);
  const others = packSequentially(sorted.slice(trainable.length).map((entry) => entry.bytes));
  const values = {
    offsets: [...gradients.offsets, ...others.offsets.map((offset) => gradients.totalBytes + offset)],
    totalBytes: gradients.totalBytes + others.totalBytes,
  };
  const moments = numMoments(optimizer);
  const offsetOf = new Map(sorted.map((entry, at) => [entry.index, values.offsets[at] ?? 0]));
  const pieceBases = packSequentially(gradients.runs.map(({ pieceBytes }) => pieceBytes));
  const momentBytes = pieceBases.totalBytes;
  const gradientOf = new Map(trainable.map((entry, at) => [entry.index, gradients.offsets[at] ?? 0]));

  const parameters = held.map(({ parameter, index, shape }): RankParameter => {
    const gradientOffset = gradientOf.get(index) ?? -1;
    const owned =
      gradientOffset < 0
        ? undefined
        : ownedPart(gradients.runs, gradientOffset, numElements(shape), numPieces === 1 ? 0 : dp);
    const run = owned?.run ?? 0;
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
        owned === undefined || (numPieces > 1 && owned.begin === owned.end)
          ? []
          : Array.from(
              { length: moments },
              (_, moment) => moment * momentBytes + (pieceBases.offsets[run] ?? 0) + owned.pieceOffset,
            ),
      ...(owned === undefined || numPieces === 1 ? {} : { owned: { begin: owned.begin, end: owned.end } }),
      countsInNorm: parameter.trainable && parameter.stages[0] === pp && (sharded || tp === 0),
      decays: parameter.trainable && parameter.shape.length >= 2,
    };
  });
  const { spaces, totalBytes } = layOutSpaces([
    { space: 'parameters', slotBytes: [values.totalBytes] },
    { space: 'gradients', slotBytes: [gradients.totalBytes] },
    { space: 'optimizer', slotBytes: [momentBytes * moments] },
  ]);
  const states = sorted.filter((entry) => entry.state);
  return {
    parameters,
    spaces,
    totalBytes,
    gradientBuckets: gradients.runs.map(
      ({ group, offset, endBytes, pieceBytes }): Bucket => ({
        group,
        offset,
        length: numPieces === 1 ? (endBytes - offset) / 4 : (pieceBytes * numPieces) / 4,
        scale: 1 / mesh.dp,
        ...(numPieces === 1 ? {} : { pieceLength: pieceBytes / 4 }),
      }),
    ),
    stateBuckets: mesh.dp > 1 ? bucketsOf(states, offsetOf, 1 / mesh.dp) : [],
  };
}

/** Gradients that are reduced together: bytes from `offset` to `endBytes`, in pieces of `pieceBytes`. */
interface Run {
  readonly group: number;
  readonly offset: number;
  readonly endBytes: number;
  readonly pieceBytes: number;
}

/** Gradients one after the other, each group's run padded to `numPieces` equal pieces. */
function packRuns(
  entries: readonly { group: number; bytes: number }[],
  numPieces: number,
): { offsets: number[]; totalBytes: number; runs: Run[] } {
  const offsets: number[] = [];
  const runs: Run[] = [];
  let totalBytes = 0;
  entries.forEach(({ group, bytes }, index) => {
    const last = runs.at(-1);
    const begins = last?.group !== group;
    const offset = begins ? totalBytes : align(last.endBytes);
    offsets.push(offset);
    const start = begins ? offset : last.offset;
    const endBytes = offset + bytes;
    const pieceBytes = align((endBytes - start) / numPieces);
    if (!begins) runs.pop();
    runs.push({ group, offset: start, endBytes, pieceBytes });
    if (entries[index + 1]?.group !== group) totalBytes = start + pieceBytes * numPieces;
  });
  return { offsets, totalBytes, runs };
}

/** The elements of a parameter that lie in a replica's piece of their run, and where they begin in the piece. */
function ownedPart(runs: readonly Run[], gradientOffset: number, size: number, replica: number) {
  const run = runs.findIndex(({ offset, endBytes }) => gradientOffset >= offset && gradientOffset < endBytes);
  const { offset = 0, pieceBytes = 0 } = runs[run] ?? {};
  const first = (gradientOffset - offset) / 4;
  const piece = pieceBytes / 4;
  const begin = Math.min(size, Math.max(0, replica * piece - first));
  const end = Math.max(begin, Math.min(size, (replica + 1) * piece - first));
  return { run, begin, end, pieceOffset: 4 * (first + begin - replica * piece) };
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
