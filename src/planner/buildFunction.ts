/** A traced function as an executable: one rank's graph, run forward once, with parameters that it may write. */
import type { Graph } from '../graph/graph.js';
import { forwardOnly } from '../pipeline/forwardOnly.js';
import { buildRankExecutable } from '../plan/executable.js';
import { lowerStage, type ParameterAddress } from '../plan/lower.js';
import { buildGroups, coordinatesOf } from '../plan/mesh.js';
import { layOutParameters } from '../plan/parameters.js';
import type { Executable, Mesh, RankParameter, RankPlan } from '../plan/plan.js';
import { REPLICATE } from '../tensorparallel/layout.js';

/** The name of the executable in a function's plan. */
export const FUNCTION_EXECUTABLE = 'function';

const ALONE = { numStages: 1 };

export interface FunctionPlan {
  /** Without executables: `load` this one. */
  readonly rank: RankPlan;
  readonly executable: Executable;
}

/** One rank, one micro-batch; no input needs a batch dim. Updates are written to the parameters at the end of the run. */
export function buildFunction(graph: Graph): FunctionPlan {
  const parameters = graph.parameters.map(({ name, value }) => {
    const { shape, dtype, storedAs } = graph.values[value]!;
    return { name, shape, dtype: storedAs ?? dtype };
  });
  const rank = buildStateRank({ pp: 1, dp: 1, tp: 1 }, 0, parameters);
  return { rank, executable: buildFunctionExecutable(FUNCTION_EXECUTABLE, graph, rank, rank.parameters) };
}

/** Something a rank keeps between runs: the part of it that this rank holds. */
export type StateShard = Pick<RankParameter, 'name' | 'shape' | 'dtype'>;

/** A rank that holds `shards` in its persistent arena and has nothing to run yet. */
export function buildStateRank(mesh: Mesh, rank: number, shards: readonly StateShard[]): RankPlan {
  const parameters = shards.map(({ name, shape, dtype }) => {
    return { name, shape, dtype, trainable: false, layout: REPLICATE, stages: [0] };
  });
  const groups = buildGroups(mesh, []);
  const layout = layOutParameters({
    mesh,
    rank,
    groups,
    parameters,
    localShapes: parameters.map(({ shape }) => shape),
    updated: parameters.map(() => false),
    optimizer: { kind: 'sgd' },
  });
  return {
    rank,
    coordinates: coordinatesOf(mesh, rank),
    mesh,
    groups,
    parameters: layout.parameters,
    persistentSpaces: layout.spaces,
    persistentBytes: layout.totalBytes,
    gradientBuckets: [],
    stateBuckets: [],
    optimizer: { kind: 'sgd' },
    clipNorm: 0,
    executables: [],
  };
}

/** `graph` on one rank; `addresses` in step with its parameters. */
export function buildFunctionExecutable(
  name: string,
  graph: Graph,
  { mesh, rank }: Pick<RankPlan, 'mesh' | 'rank'>,
  addresses: readonly ParameterAddress[],
): Executable {
  const lowered = lowerStage({
    stage: { stage: 0, graph, parameterOf: graph.parameters.map((_, index) => index) },
    isLast: true,
    results: 'outputs',
    parameters: addresses,
  });
  return buildRankExecutable({
    name,
    mesh,
    layout: ALONE,
    rank,
    chunks: [lowered],
    tasks: forwardOnly(ALONE, 1).stages[0] ?? [],
    closing: 'predict',
    numMicroBatches: 1,
    microBatchSize: 1,
    reducesState: false,
  });
}
