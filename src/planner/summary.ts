/** What a plan says of its stages: layers, parameters, arithmetic, traffic, peak memory. */
import { nodeFlops, numElements, valueBytes } from '../graph/cost.js';
import type { Graph, Node } from '../graph/graph.js';
import { type ChunkLayout, virtualStagesOn } from '../pipeline/virtualStages.js';
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
export function summariseStages(
  split: SplitGraph,
  training: LoweredModes,
  ranks: readonly RankPlan[],
  layout: ChunkLayout,
): StageSummary[] {
  return Array.from({ length: layout.numStages }, (_, pp): StageSummary => {
    const held = ranks.filter((rank) => rank.coordinates.pp === pp);
    const first = held[0];
    const numMicroBatches = first?.executables[0]?.numMicroBatches ?? 1;
    const chunks = virtualStagesOn(layout, pp).map((virtual) => summariseChunk(split, training, virtual));
    const total = (of: (chunk: ChunkSummary) => number) => chunks.reduce((sum, chunk) => sum + of(chunk), 0);
    const reduced = (first?.gradientBuckets ?? []).filter((bucket) => groupSize(first, bucket.group) > 1);
    const [recompute = 'none', ...others] = new Set(chunks.map((chunk) => chunk.recompute));
    return {
      stage: pp,
      layers: [...new Set(chunks.flatMap(({ layers }) => layers))],
      numParameters: (first?.parameters ?? []).reduce((sum, { shape }) => sum + numElements(shape), 0),
      forwardFlops: total(({ forwardFlops }) => forwardFlops),
      backwardFlops: total(({ backwardFlops }) => backwardFlops),
      parameterBytes: first?.persistentSpaces.find(({ space }) => space === 'parameters')?.slotBytes[0] ?? 0,
      peakBytes: Math.max(...held.map((rank) => rankMemory(rank).peakBytes)),
      sendBytes: sentBytes(first),
      allReduceBytes:
        total(({ meetingBytes: bytes }) => bytes) * numMicroBatches +
        reduced.reduce((sum, { length }) => sum + 4 * length, 0),
      recompute: others.length === 0 ? recompute : 'partial',
    };
  });
}

interface ChunkSummary extends Pick<StageSummary, 'layers' | 'forwardFlops' | 'backwardFlops' | 'recompute'> {
  /** Per micro-batch. */
  readonly meetingBytes: number;
}

function summariseChunk(split: SplitGraph, training: LoweredModes, virtual: number): ChunkSummary {
  const stage = split.stages[0]?.[virtual];
  const derivative = training.derivatives[0]?.[virtual];
  const graph = derivative?.graph ?? stage?.graph ?? EMPTY;
  const numForward = derivative?.numForwardNodes ?? graph.nodes.length;
  const lowered = training.lowered[0]?.[virtual];
  const again = programGraph(
    lowered?.programs.find(({ kind }) => kind === 'recompute') ?? { kind: 'recompute', values: [], nodes: [] },
  );
  return {
    layers: layersOf(stage?.graph ?? EMPTY),
    forwardFlops: flops(graph, graph.nodes.slice(0, numForward)),
    backwardFlops: flops(graph, graph.nodes.slice(numForward)) + flops(again, again.nodes),
    meetingBytes: meetingBytes(graph, graph.nodes) + meetingBytes(again, again.nodes),
    recompute: again.nodes.length === 0 ? 'none' : (lowered?.bytes.saved ?? 0) > 0 ? 'partial' : 'full',
  };
}

const EMPTY: Graph = { values: [], nodes: [], inputs: [], parameters: [], constants: [], outputs: [], updates: [] };

/** Of the training step, to other ranks. */
function sentBytes(rank: RankPlan | undefined): number {
  return (rank?.executables[0]?.schedule ?? []).reduce(
    (sum, instruction) => sum + (instruction.kind === 'send' ? instruction.bytes : 0),
    0,
  );
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
