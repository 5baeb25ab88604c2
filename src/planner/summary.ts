/** What a plan says of its stages: layers, parameters, arithmetic, traffic, peak memory. */
import { nodeFlops, numElements, valueBytes } from '../graph/cost.js';
import type { Graph, Node } from '../graph/graph.js';
import { rankMemory } from '../plan/memoryReport.js';
import type { RankPlan, StageSummary } from '../plan/plan.js';
import { programGraph } from './costs/programSeconds.js';
import type { LoweredModes } from './lowerModes.js';
import type { SplitGraph } from './split.js';

/** Collectives as ring algorithms move them: an all-reduce sends its bytes about twice. Here bytes count once. */
const MEETINGS: ReadonlySet<string> = new Set(['MerakAllReduce', 'MerakAllGather']);

/**
 * FLOPs are per micro-batch and rank (recomputation counts as backward); bytes per step and rank; `peakBytes` is that of
 * the stage's largest rank. `numParameters` and `parameterBytes` are those one rank holds.
 */
export function summariseStages(split: SplitGraph, training: LoweredModes, ranks: readonly RankPlan[]): StageSummary[] {
  return (split.stages[0] ?? []).map((stage, pp): StageSummary => {
    const derivative = training.derivatives[0]?.[pp];
    const graph = derivative?.graph ?? stage.graph;
    const numForward = derivative?.numForwardNodes ?? graph.nodes.length;
    const lowered = training.lowered[0]?.[pp];
    const held = ranks.filter((rank) => rank.coordinates.pp === pp);
    const first = held[0];
    const numMicroBatches = first?.executables[0]?.numMicroBatches ?? 1;
    const forwardFlops = flops(graph, graph.nodes.slice(0, numForward));
    const again = programGraph(
      lowered?.programs.find(({ kind }) => kind === 'recompute') ?? { kind: 'recompute', values: [], nodes: [] },
    );
    const meetings = (meetingBytes(graph, graph.nodes) + meetingBytes(again, again.nodes)) * numMicroBatches;
    const reduced = (first?.gradientBuckets ?? []).filter((bucket) => groupSize(first, bucket.group) > 1);
    return {
      stage: pp,
      layers: layersOf(stage.graph),
      numParameters: (first?.parameters ?? []).reduce((sum, { shape }) => sum + numElements(shape), 0),
      forwardFlops,
      backwardFlops: flops(graph, graph.nodes.slice(numForward)) + flops(again, again.nodes),
      parameterBytes: first?.persistentSpaces.find(({ space }) => space === 'parameters')?.bytesPerSlot ?? 0,
      peakBytes: Math.max(...held.map((rank) => rankMemory(rank).peakBytes)),
      sendBytes: ((lowered?.bytes.sent ?? 0) + (lowered?.bytes.sentGradients ?? 0)) * numMicroBatches,
      allReduceBytes: meetings + reduced.reduce((sum, { length }) => sum + 4 * length, 0),
      recompute: again.nodes.length === 0 ? 'none' : (lowered?.bytes.saved ?? 0) > 0 ? 'partial' : 'full',
    };
  });
}

function flops(graph: Graph, nodes: readonly Node[]): number {
  return nodes.reduce((sum, node) => sum + nodeFlops(graph, node), 0);
}

function meetingBytes(graph: Graph, nodes: readonly Node[]): number {
  return nodes
    .filter((node) => MEETINGS.has(node.kernel))
    .flatMap((node) => node.outputs)
    .reduce((sum, output) => {
      const value = graph.values[output];
      return sum + (value === undefined ? 0 : valueBytes(value));
    }, 0);
}

function groupSize(rank: RankPlan | undefined, id: number): number {
  return rank?.groups.find((group) => group.id === id)?.ranks.length ?? 1;
}

/** Scopes of the stage's nodes in order, each once; where the model has none, the folders of its parameters' names. */
function layersOf(graph: Graph): string[] {
  const scopes = graph.nodes.map((node) => node.scope);
  const folders = graph.parameters.map(({ name }) => name.split('/').slice(0, -1).join('/') || name);
  return [...new Set(scopes.some((scope) => scope !== '') ? scopes : folders)].filter((layer) => layer !== '');
}
