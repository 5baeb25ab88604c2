/** Moves parameters between their logical form and the ranks that hold pieces of them. */
import type * as tf from '@tensorflow/tfjs';
import type { Cluster } from '../coordinator/cluster.js';
import { hostArrayOf } from '../data/hostArray.js';
import { initialize } from '../graph/initialize.js';
import type { Plan, RankPlan } from '../plan/plan.js';
import { mergeParameter, sliceParameter, type TensorData } from '../tensorparallel/shards.js';

type Kind = 'value' | number;

/** Every (rank, index in its plan) that holds a copy or piece of logical parameter `parameter`. */
function holders(plan: Plan, parameter: number): { rank: RankPlan; index: number }[] {
  return plan.ranks.flatMap((rank) => {
    const index = rank.parameters.findIndex((held) => held.parameter === parameter);
    return index < 0 ? [] : [{ rank, index }];
  });
}

/** Hands every holder its piece of the logical `data`. */
export async function writeLogical(
  cluster: Cluster,
  plan: Plan,
  parameter: number,
  kind: Kind,
  data: TensorData,
): Promise<void> {
  const { shape, layout } = plan.parameters[parameter]!;
  await Promise.all(
    holders(plan, parameter).map(({ rank, index }) => {
      const whole = layout.kind !== 'shard';
      const piece = whole ? data : sliceParameter(data, shape, layout, plan.mesh.tp, rank.coordinates.tp);
      const owned = kind === 'value' ? undefined : rank.parameters[index]?.owned;
      if (owned === undefined) return cluster.write(rank.rank, index, kind, wide(piece));
      if (owned.begin === owned.end) return undefined;
      return cluster.write(rank.rank, index, kind, wide(piece.slice(owned.begin, owned.end)));
    }),
  );
}

/** Gathers the logical tensor from the first stage that holds it: data replica 0, or every replica's piece of a sharded moment. */
export async function readLogical(
  cluster: Cluster,
  plan: Plan,
  parameter: number,
  kind: Kind,
): Promise<Float32Array | Int32Array> {
  const { shape, layout, stages } = plan.parameters[parameter]!;
  const onStage = holders(plan, parameter).filter(({ rank }) => rank.coordinates.pp === stages[0]);
  const pieces = await Promise.all(
    Array.from({ length: plan.mesh.tp }, (_, tp) => {
      const replicas = onStage.filter(({ rank }) => rank.coordinates.tp === tp);
      return readLocal(cluster, replicas, kind);
    }),
  );
  return mergeParameter(pieces, shape, layout);
}

/** What the ranks of one tensor index hold together. */
async function readLocal(
  cluster: Cluster,
  replicas: readonly { rank: RankPlan; index: number }[],
  kind: Kind,
): Promise<Float32Array | Int32Array> {
  const ownedBy = ({ rank, index }: { rank: RankPlan; index: number }) => rank.parameters[index]?.owned;
  const first = replicas.find(({ rank }) => rank.coordinates.dp === 0) ?? replicas[0]!;
  if (kind === 'value' || ownedBy(first) === undefined) return cluster.read(first.rank.rank, first.index, kind);
  const size = first.rank.parameters[first.index]!.shape.reduce((a, b) => a * b, 1);
  const whole = new Float32Array(size);
  await Promise.all(
    replicas.map(async (holder) => {
      const { begin = 0, end = 0 } = ownedBy(holder) ?? {};
      if (begin < end) whole.set(await cluster.read(holder.rank.rank, holder.index, kind), begin);
    }),
  );
  return whole;
}

/** The initial values: the variables' own data, or what `merak.lazy` recorded, drawn one parameter at a time. */
export async function pushWeights(cluster: Cluster, plan: Plan, variables: readonly tf.Variable[]): Promise<void> {
  for (const [parameter, { initializer, name, shape }] of plan.parameters.entries()) {
    const data =
      initializer === undefined
        ? await hostArrayOf(variables[parameter]!)
        : initialize(initializer, name, shape, plan.seed);
    await writeLogical(cluster, plan, parameter, 'value', data);
  }
}

/** Brings trained values back into the user's variables; lazy ones have nowhere to put them and are left alone. */
export async function pullWeights(
  cluster: Cluster,
  plan: Plan,
  assign: (parameter: number, data: Float32Array | Int32Array) => void,
): Promise<void> {
  for (const [parameter, { initializer }] of plan.parameters.entries()) {
    if (initializer !== undefined) continue;
    assign(parameter, await readLogical(cluster, plan, parameter, 'value'));
  }
}

/** Booleans and int8 travel as int32. */
function wide(data: TensorData): Float32Array | Int32Array {
  return data instanceof Uint8Array || data instanceof Int8Array ? Int32Array.from(data) : data;
}
