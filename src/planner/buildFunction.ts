/** A traced function as something one engine runs by itself: all its parameters, one forward executable. */
import type { Graph } from '../graph/graph.js';
import { forwardOnly } from '../pipeline/forwardOnly.js';
import { buildRankExecutable } from '../plan/executable.js';
import { lowerStage } from '../plan/lower.js';
import { buildGroups, coordinatesOf } from '../plan/mesh.js';
import { layOutParameters } from '../plan/parameters.js';
import type { Executable, RankPlan } from '../plan/plan.js';
import { REPLICATE } from '../tensorparallel/layout.js';

/** The name of the executable in a function's plan. */
export const FUNCTION_EXECUTABLE = 'function';

export interface FunctionPlan {
  /** Without executables: `load` this one. */
  readonly rank: RankPlan;
  readonly executable: Executable;
}

/** One rank, one micro-batch; no input needs a batch dim. Updates are written to the parameters at the end of the run. */
export function buildFunction(graph: Graph): FunctionPlan {
  const mesh = { pp: 1, dp: 1, tp: 1 };
  const parameters = graph.parameters.map(({ name, value }) => {
    const { shape, dtype } = graph.values[value]!;
    return { name, shape, dtype, trainable: false, layout: REPLICATE, stages: [0] };
  });
  const groups = buildGroups(mesh, []);
  const updated = graph.parameters.map((_, index) => graph.updates.some(({ parameter }) => parameter === index));
  const layout = layOutParameters({
    mesh,
    rank: 0,
    groups,
    parameters,
    localShapes: parameters.map(({ shape }) => shape),
    updated,
    optimizer: { kind: 'sgd' },
  });
  const lowered = lowerStage({
    stage: { stage: 0, graph, parameterOf: graph.parameters.map((_, index) => index) },
    isLast: true,
    results: 'outputs',
    parameters: layout.parameters,
  });
  const executable = buildRankExecutable({
    name: FUNCTION_EXECUTABLE,
    mesh,
    rank: 0,
    lowered,
    tasks: forwardOnly(1, 1).stages[0] ?? [],
    closing: 'predict',
    numMicroBatches: 1,
    microBatchSize: 1,
    reducesState: false,
  });
  const rank: RankPlan = {
    rank: 0,
    coordinates: coordinatesOf(mesh, 0),
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
  return { rank, executable };
}
