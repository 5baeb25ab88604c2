/** Sub-pipelined tensor parallelism of a stage: sub-batches that take turns, so that one's exchange is another's computing time. */
import { MerakError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import type { CostModel } from './cost.js';
import { type OverlapLevel, overlapCollectives } from './overlap.js';
import { greatestCommonDivisor } from './rules/attributes.js';
import { splitBatch } from './splitBatch.js';

export interface SubPipelineOptions {
  /** 1: as it is, every collective awaited at once. */
  readonly numSubBatches: number;
  /** Ranks of the tensor axis. */
  readonly degree: number;
  readonly level?: OverlapLevel;
  readonly model?: CostModel;
}

/** A stage (or anything with a graph) with its batch in sub-batches. @throws MerakError 'config/batch' when it does not divide. */
export function splitStage<T extends { readonly graph: Graph }>(stage: T, { numSubBatches }: SubPipelineOptions): T {
  return numSubBatches === 1 ? stage : { ...stage, graph: splitBatch(stage.graph, numSubBatches) };
}

/** A derivative of such a stage with its collectives beside its computation. Values keep their ids. */
export function overlapDerivative<T extends { readonly graph: Graph; readonly numForwardNodes: number }>(
  derivative: T,
  options: SubPipelineOptions,
): T {
  if (options.numSubBatches === 1) return derivative;
  const { graph, numForwardNodes } = overlapCollectives(derivative.graph, derivative.numForwardNodes, options);
  return { ...derivative, graph, numForwardNodes };
}

/**
 * Sub-batches of a pinned number, checked.
 *
 * @throws MerakError 'config/batch' when a micro-batch does not divide, 'config/degrees' without a tensor axis.
 */
export function checkSubBatches(numSubBatches: number, microBatchSize: number, degree: number): number {
  if (numSubBatches === 1) return 1;
  if (degree === 1) {
    throw new MerakError('config/degrees', 'sub-batches overlap the exchanges of the tensor axis, and there is none', {
      path: 'subBatches',
      expected: '1, or tp of at least 2',
      received: String(numSubBatches),
    });
  }
  if (microBatchSize % numSubBatches === 0) return numSubBatches;
  throw new MerakError('config/batch', `a micro-batch of ${microBatchSize} does not divide into sub-batches`, {
    path: 'subBatches',
    expected: `a divisor of ${microBatchSize}`,
    received: String(numSubBatches),
    hint: 'choose another number of sub-batches or of micro-batches',
  });
}

/** The most sub-batches, up to the plan's, into which another micro-batch size divides: for the last batch of an epoch. */
export function fittingSubBatches(numSubBatches: number, microBatchSize: number): number {
  return greatestCommonDivisor(numSubBatches, microBatchSize);
}
