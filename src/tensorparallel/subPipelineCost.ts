/** What sub-batches bring: phases of computing and exchanging that take turns, priced without differentiating or lowering. */
import type { Graph, Node, ValueId } from '../graph/graph.js';
import type { OverlapLevel } from './overlap.js';
import { canSplitBatch, splitBatch } from './splitBatch.js';

/** Computing, then a collective that the next phase needs. Seconds of a whole micro-batch. */
export interface Phase {
  readonly computeSeconds: number;
  readonly exchangeSeconds: number;
}

export interface PhaseOptions {
  readonly numSubBatches: number;
  /** Default 3. At level 1 every phase ends with all exchanges done, at level 2 every block. */
  readonly level?: OverlapLevel;
  /** Phases of a block. Default 2: attention and MLP. */
  readonly phasesPerBlock?: number;
  /** How much longer computing takes in pieces, as a share: smaller products, more launches. Default 0. */
  readonly overhead?: number;
  /**
   * Share of an exchange during which the rank cannot compute: 1 where the computing cores do it themselves (CPU, shared
   * memory: nothing to gain but waits), near 0 where a copy engine or NIC does. Default 0.
   */
  readonly busyShare?: number;
}

/** Seconds of the phases one after the other, every exchange awaited at once. */
export function blockingPhaseSeconds(phases: readonly Phase[]): number {
  return phases.reduce((sum, phase) => sum + phase.computeSeconds + phase.exchangeSeconds, 0);
}

/** Seconds of the phases in sub-batches, round robin: one computes while the link works for another. */
export function subPipelinePhaseSeconds(phases: readonly Phase[], options: PhaseOptions): number {
  const { numSubBatches, level = 3, phasesPerBlock = 2, overhead = 0, busyShare = 0 } = options;
  const phasesPerRegion = level === 1 ? 1 : level === 2 ? phasesPerBlock : Number.POSITIVE_INFINITY;
  const ready = Array.from({ length: numSubBatches }, () => 0);
  let now = 0;
  let linkFree = 0;
  phases.forEach(({ computeSeconds, exchangeSeconds }, index) => {
    const compute = ((1 + overhead) * computeSeconds) / numSubBatches;
    const exchange = exchangeSeconds / numSubBatches;
    for (let sub = 0; sub < numSubBatches; sub++) {
      now = Math.max(now, ready[sub] ?? 0) + compute + busyShare * exchange;
      linkFree = Math.max(linkFree, now) + (1 - busyShare) * exchange;
      ready[sub] = exchangeSeconds === 0 ? now : linkFree;
    }
    if ((index + 1) % phasesPerRegion === 0) now = Math.max(now, ...ready);
  });
  return Math.max(now, ...ready);
}

/** Seconds of single nodes of a rank's graph: computing for all but collectives, exchanging for them. */
export interface NodeCosts {
  computeSeconds(graph: Graph, node: Node): number;
  exchangeSeconds(graph: Graph, node: Node): number;
}

export interface SubPipelineEstimate {
  readonly pays: boolean;
  /** Forward and backward of one micro-batch, in sub-batches. */
  readonly seconds: number;
  /** The same without them. */
  readonly blockingSeconds: number;
}

/** Below this gain the simpler program is better. */
const LEAST_GAIN = 0.02;

/**
 * Whether `numSubBatches` sub-batches make a stage faster. `graph` is the forward graph of one rank (`localise`, or a stage of
 * it); its backward is taken as twice the computing in the opposite order, with the exchanges differentiation will add.
 */
export function subPipelinePays(
  graph: Graph,
  costs: NodeCosts,
  options: Omit<PhaseOptions, 'overhead'>,
): SubPipelineEstimate {
  const forward = forwardPhases(graph, costs);
  const phases = [...forward, ...backwardPhases(graph, costs)];
  const blockingSeconds = blockingPhaseSeconds(phases);
  if (options.numSubBatches === 1 || !canSplitBatch(graph, options.numSubBatches)) {
    return { pays: false, seconds: blockingSeconds, blockingSeconds };
  }
  const whole = computeSeconds(graph, costs);
  const pieces = computeSeconds(splitBatch(graph, options.numSubBatches), costs);
  const overhead = whole > 0 ? Math.max(0, pieces / whole - 1) : 0;
  const seconds = subPipelinePhaseSeconds(phases, { ...options, overhead });
  return { pays: seconds < (1 - LEAST_GAIN) * blockingSeconds, seconds, blockingSeconds };
}

/**
 * Seconds in sub-batches as a share of those without, of the forward and of the backward pass; undefined where the batch does
 * not split. The same model as `subPipelinePays`, pass by pass.
 */
export function subPipelineShares(
  graph: Graph,
  costs: NodeCosts,
  options: Omit<PhaseOptions, 'overhead'>,
): { readonly forward: number; readonly backward: number } | undefined {
  if (!canSplitBatch(graph, options.numSubBatches)) return undefined;
  const whole = computeSeconds(graph, costs);
  const pieces = computeSeconds(splitBatch(graph, options.numSubBatches), costs);
  const overhead = whole > 0 ? Math.max(0, pieces / whole - 1) : 0;
  const share = (phases: readonly Phase[]) => {
    const blocking = blockingPhaseSeconds(phases);
    return blocking === 0 ? 1 : subPipelinePhaseSeconds(phases, { ...options, overhead }) / blocking;
  };
  return { forward: share(forwardPhases(graph, costs)), backward: share(backwardPhases(graph, costs)) };
}

/** The best number of sub-batches among `candidates` for the slowest of a rank's stages; 1 when none pays. */
export function bestSubBatches(
  stages: readonly Graph[],
  costs: NodeCosts,
  {
    candidates = [2, 4],
    ...options
  }: Omit<PhaseOptions, 'overhead' | 'numSubBatches'> & {
    readonly candidates?: readonly number[];
  } = {},
): number {
  let best = { count: 1, seconds: Number.POSITIVE_INFINITY };
  for (const count of candidates) {
    const estimates = stages.map((graph) => subPipelinePays(graph, costs, { ...options, numSubBatches: count }));
    const slowest = estimates.reduce((max, { blockingSeconds }) => Math.max(max, blockingSeconds), 0);
    const seconds = estimates.reduce((max, estimate) => Math.max(max, estimate.seconds), 0);
    if (seconds < (1 - LEAST_GAIN) * slowest && seconds < best.seconds) best = { count, seconds };
  }
  return best.count;
}

function computeSeconds(graph: Graph, costs: NodeCosts): number {
  return graph.nodes.reduce((sum, node) => sum + costs.computeSeconds(graph, node), 0);
}

/** Kernels whose forward exchanges, and what their gradients do. */
const EXCHANGES: ReadonlySet<string> = new Set(['MerakAllReduce', 'MerakAllGather', 'MerakReduceScatter']);

function forwardPhases(graph: Graph, costs: NodeCosts): Phase[] {
  return phasesOf(graph, graph.nodes, 1, costs, (node) => (EXCHANGES.has(node.kernel) ? node.kernel : undefined));
}

function backwardPhases(graph: Graph, costs: NodeCosts): Phase[] {
  return phasesOf(graph, [...graph.nodes].reverse(), 2, costs, (node) => {
    if (node.kernel === 'MerakFanOut') return 'MerakAllReduce';
    if (node.kernel === 'MerakReduceScatter' || node.kernel === 'MerakShard') return 'MerakAllGather';
    return node.kernel === 'MerakAllGather' && node.attrs.spread === true ? 'MerakReduceScatter' : undefined;
  });
}

/** Only exchanges of batch values stand between phases: those of parameters' gradients nobody waits for. */
function phasesOf(
  graph: Graph,
  nodes: readonly Node[],
  computeFactor: number,
  costs: NodeCosts,
  exchangeOf: (node: Node) => string | undefined,
): Phase[] {
  const ofBatch = (value: ValueId | undefined) => (graph.values[value ?? -1]?.batchDim ?? -1) >= 0;
  const phases: Phase[] = [];
  let compute = 0;
  for (const node of nodes) {
    const kernel = exchangeOf(node);
    compute += computeFactor * costs.computeSeconds(graph, node);
    if (kernel === undefined || !ofBatch(node.outputs[0])) continue;
    phases.push({ computeSeconds: compute, exchangeSeconds: costs.exchangeSeconds(graph, { ...node, kernel }) });
    compute = 0;
  }
  return compute > 0 ? [...phases, { computeSeconds: compute, exchangeSeconds: 0 }] : phases;
}
