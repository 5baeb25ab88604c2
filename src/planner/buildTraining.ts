/** The training step for an existing plan at another batch size: the last, smaller batch of an epoch. */
import type { Graph } from '../graph/graph.js';
import { oneForwardOneBackward } from '../pipeline/oneForwardOneBackward.js';
import { buildRankExecutable } from '../plan/executable.js';
import type { Executable, Plan } from '../plan/plan.js';
import { loweredOf } from './buildExecutable.js';
import { lowerTraining } from './lowerModes.js';
import { microBatchSizeOf, withFloatMetrics } from './prepare.js';
import { splitByParameters } from './split.js';

/**
 * One executable per rank, in rank order, that trains the plan's parameters where they lie. `graph` is traced in mode
 * 'train' at the micro-batch size wanted. Always 1F1B: with few micro-batches there is no critical path to shift.
 *
 * @throws MerakError 'plan/invalid' when the graph uses a parameter on a stage that does not hold it.
 */
export function buildTrainingExecutable(
  plan: Plan,
  graph: Graph,
  options: { readonly name: string; readonly numMicroBatches: number },
): Executable[] {
  const { mesh, parameters, ranks } = plan;
  const { name, numMicroBatches } = options;
  const train = withFloatMetrics(graph);
  const layouts = new Map(parameters.map((parameter) => [parameter.name, parameter.layout]));
  const stagesOf = new Map(parameters.map((parameter) => [parameter.name, parameter.stages]));
  const split = splitByParameters(train, mesh, layouts, stagesOf);
  const context = { mesh, numMicroBatches, rankParameters: ranks.map((rank) => rank.parameters) };
  const recomputes = plan.stages.map(({ recompute }) => recompute === 'full');
  const { lowered } = lowerTraining(split, context, recomputes);
  const schedule = oneForwardOneBackward(mesh.pp, numMicroBatches);
  return ranks.map(({ rank, coordinates, stateBuckets }) =>
    buildRankExecutable({
      name,
      mesh,
      rank,
      lowered: loweredOf(lowered, mesh, rank),
      tasks: schedule.stages[coordinates.pp]!,
      closing: 'train',
      numMicroBatches,
      microBatchSize: microBatchSizeOf(train),
      reducesState: stateBuckets.length > 0,
    }),
  );
}
