/** The training step for an existing plan at another batch size: the last, smaller batch of an epoch. */
import type { Graph } from '../graph/graph.js';
import { oneForwardOneBackward } from '../pipeline/oneForwardOneBackward.js';
import { buildRankExecutable } from '../plan/executable.js';
import type { Executable, Plan } from '../plan/plan.js';
import { chooseSaved } from '../recompute/saved.js';
import { fittingSubBatches } from '../tensorparallel/subPipeline.js';
import { loweredOf } from './buildExecutable.js';
import type { Precision } from './fuse.js';
import { type KeepRule, lowerTraining } from './lowerModes.js';
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
  options: { readonly name: string; readonly numMicroBatches: number; readonly precision?: Precision },
): Executable[] {
  const { mesh, parameters, ranks } = plan;
  const { name, numMicroBatches } = options;
  const train = withFloatMetrics(graph);
  const layouts = new Map(parameters.map((parameter) => [parameter.name, parameter.layout]));
  const stagesOf = new Map(parameters.map((parameter) => [parameter.name, parameter.stages]));
  const split = splitByParameters(train, mesh, layouts, stagesOf, true, plan.sequenceParallel);
  const numSubBatches = fittingSubBatches(plan.numSubBatches ?? 1, microBatchSizeOf(train));
  const rankParameters = ranks.map((rank) => rank.parameters);
  const precision = options.precision ?? 'f32';
  const context = { mesh, numMicroBatches, numSubBatches, rankParameters, precision };
  const keep: KeepRule = (pp, derivative) =>
    chooseSaved(derivative, plan.stages[pp]?.recompute === 'none' ? 'none' : 'full');
  const { lowered } = lowerTraining(split, context, keep);
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
