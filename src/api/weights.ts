/** Moves parameters between their logical form and the ranks that hold pieces of them. */
import type * as tf from '@tensorflow/tfjs';
import type { Cluster } from '../coordinator/cluster.js';
import { initialize } from '../graph/initialize.js';
import type { Plan, RankPlan } from '../plan/plan.js';
import { mergeParameter, sliceParameter, type TensorData } from '../tensorparallel/shards.js';
import { hostArrayOf } from './hostArray.js';

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
      const piece = sliceParameter(data, shape, layout, plan.mesh.tp, rank.coordinates.tp);
      return cluster.write(rank.rank, index, kind, wide(piece));
    }),
  );
}

/** Gathers the logical tensor from the first stage that holds it, data replica 0. */
export async function readLogical(
  cluster: Cluster,
  plan: Plan,
  parameter: number,
  kind: Kind,
): Promise<Float32Array | Int32Array> {
  const { shape, layout, stages } = plan.parameters[parameter]!;
  const pieces = await Promise.all(
    holders(plan, parameter)
      .filter(({ rank }) => rank.coordinates.dp === 0 && rank.coordinates.pp === stages[0])
      .sort((a, b) => a.rank.coordinates.tp - b.rank.coordinates.tp)
      .map(({ rank, index }) => cluster.read(rank.rank, index, kind)),
  );
  return mergeParameter(pieces, shape, layout);
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

/** Booleans travel as int32. */
function wide(data: TensorData): Float32Array | Int32Array {
  return data instanceof Uint8Array ? Int32Array.from(data) : data;
}
