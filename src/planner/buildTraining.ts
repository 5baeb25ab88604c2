/** The training step for an existing plan at another batch size: the last, smaller batch of an epoch. */
import type { Graph } from '../graph/graph.js';
import { scheduleByName } from '../pipeline/registry.js';
import { buildRankExecutable } from '../plan/executable.js';
import { chunkLayoutOf } from '../plan/mesh.js';
import type { Executable, Plan } from '../plan/plan.js';
import { chooseSaved } from '../recompute/saved.js';
import { fittingSubBatches } from '../tensorparallel/subPipeline.js';
import { chunksOf } from './buildExecutable.js';
import type { Precision } from './fuse.js';
import { type KeepRule, lowerTraining } from './lowerModes.js';
import { ownersOf } from './ownership.js';
import { microBatchSizeOf, withFloatMetrics } from './prepare.js';
import { splitByParameters } from './split.js';

/**
 * One executable per rank, in rank order, that trains the plan's parameters where they lie. `graph` is traced in mode
 * 'train' at the micro-batch size wanted. 1F1B, interleaved where stages hold several chunks, whatever the plan's schedule: with
 * few micro-batches there is no critical path to shift. ZB-V's own order where its chunks lie in a V.
 *
 * @throws MerakError 'plan/invalid' when the graph uses a parameter on a stage that does not hold it.
 */
export function buildTrainingExecutable(
  plan: Plan,
  graph: Graph,
  options: {
    readonly name: string;
    readonly numMicroBatches: number;
    readonly precision?: Precision;
    readonly fusesChains?: boolean | undefined;
  },
): Executable[] {
  const { mesh, parameters, ranks } = plan;
  const { name, numMicroBatches, fusesChains } = options;
  const train = withFloatMetrics(graph);
  const layout = chunkLayoutOf(plan);
  const split = splitByParameters(train, mesh, layout, ownersOf(parameters), true, plan.sequenceParallel);
  const numSubBatches = fittingSubBatches(plan.numSubBatches ?? 1, microBatchSizeOf(train));
  const rankParameters = ranks.map((rank) => rank.parameters);
  const precision = options.precision ?? 'f32';
  const context = { mesh, layout, numMicroBatches, numSubBatches, rankParameters, precision, fusesChains };
  const keep: KeepRule = (stage, chunks) =>
    chunks.map(({ derivative }) => chooseSaved(derivative, plan.stages[stage]?.recompute === 'none' ? 'none' : 'full'));
  const schedule =
    layout.placement === 'vee'
      ? scheduleByName('zb-v', mesh.pp, numMicroBatches)
      : scheduleByName('interleaved', mesh.pp, numMicroBatches, { numChunks: layout.numChunks ?? 1 });
  const { lowered } = lowerTraining(split, context, keep, layout.placement === 'vee');
  return ranks.map(({ rank, coordinates, stateBuckets }) =>
    buildRankExecutable({
      name,
      mesh,
      layout,
      rank,
      chunks: chunksOf(lowered, mesh, layout, rank),
      tasks: schedule.stages[coordinates.pp]!,
      closing: 'train',
      numMicroBatches,
      microBatchSize: microBatchSizeOf(train),
      reducesState: stateBuckets.length > 0,
    }),
  );
}
