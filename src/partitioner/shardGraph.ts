/** A graph as a chain of shards: the smallest pieces that pipeline stages are made of. */
import type { Graph } from '../graph/graph.js';
import { type Classes, classifyNodes } from './classify.js';
import { type Crossing, crossingBytes } from './crossing.js';
import { cuttingOrder } from './order.js';
import { tensorType } from './producers.js';

export interface Shards {
  readonly numShards: number;
  /** Per node of the graph. Never decreases along an edge, repeatable nodes apart. */
  readonly shardOfNode: readonly number[];
  /** `cutBytes[i]` crosses from shard i to shard i + 1, per micro-batch and direction. */
  readonly cutBytes: readonly number[];
}

/** A cut is clean when what crosses it is, to this factor, one tensor. */
const ONE_TENSOR = 1.1;
/** Differences in bytes below this factor do not matter; the later cut keeps a layer's parts together. */
const SAME_BYTES = 1.05;
/** A parameter used at so many places is a recurrence, not a tied embedding: no cut inside it. */
const RECURRENT_USES = 4;

/**
 * Between any two consecutive uses of weight matrices lies one candidate: the place where the fewest bytes cross. Of
 * these, cuts are made where one tensor crosses or where fewer bytes cross than at both neighbours, and not inside a
 * recurrence. When that yields fewer than `atLeast` shards, every candidate becomes a cut.
 *
 * Merak's own pass (merak.md 1.3; test/partitioner/farthestMinDeps.ts) walks the same proxy graph node by node, closes a
 * shard when its parameters exceed a share of all, 1 / (2 L + 4), and undoes every cut that a later dependency turns out to
 * reach over. For a stack of transformer blocks, and small enough shares, both end with a cut after each attention and
 * each MLP (tested). They differ where
 * the paper's rules are about something else than traffic:
 * - It asks for one tensor per cut but for values with more than five users. Counting bytes admits the two tensors of an
 *   encoder-decoder or a U-Net where nothing narrower exists; the paper collapses everything between such a tensor's ends
 *   into one shard.
 * - Its shards hold equal shares of the parameters, so the number of layers must be known and an embedding needs a rule of
 *   its own. Ours are as small as clean cuts allow; balancing is the search's work, by seconds and bytes (balance.ts).
 * - Batch fields, and cheap work on them, are repeated on each stage that reads them, so that they hold no cut back.
 */
export function shardGraph(graph: Graph, options: { readonly atLeast?: number } = {}): Shards {
  const classes = classifyNodes(graph);
  const order = cuttingOrder(graph, classes);
  const crossing = crossingBytes(graph, classes, order);
  const candidates = candidateCuts(graph, classes, order, crossing);
  const recurrent = insideRecurrence(graph, classes, order);
  const clean = candidates.filter((cut, index) => !recurrent(cut) && isClean(crossing, candidates, index));
  const cuts = clean.length + 1 >= (options.atLeast ?? 1) ? clean : candidates;

  const shardOfNode = graph.nodes.map(() => 0);
  let shard = 0;
  order.forEach((node, position) => {
    if (cuts[shard] === position) shard++;
    shardOfNode[node] = shard;
  });
  return { numShards: cuts.length + 1, shardOfNode, cutBytes: cuts.map((cut) => crossing.bytes[cut] ?? 0) };
}

/** Positions (cut before `order[position]`), ascending: one between each two uses of weights of rank 2 or more. */
function candidateCuts(graph: Graph, classes: Classes, order: readonly number[], crossing: Crossing): number[] {
  const usesWeights = (index: number) =>
    classes.classOf[index] === 'anchored' &&
    (graph.nodes[index]?.inputs ?? []).some(
      (input) => (classes.parametersBehind[input] ?? []).length > 0 && tensorType(graph, input).shape.length >= 2,
    );
  const heavy = order.flatMap((node, position) => (usesWeights(node) ? [position] : []));
  return heavy.slice(1).map((end, index) => {
    const start = (heavy[index] ?? 0) + 1;
    let least = Number.POSITIVE_INFINITY;
    for (let cut = start; cut <= end; cut++) least = Math.min(least, crossing.bytes[cut] ?? least);
    let chosen = start;
    for (let cut = start; cut <= end; cut++) {
      if ((crossing.bytes[cut] ?? least) <= least * SAME_BYTES) chosen = cut;
    }
    return chosen;
  });
}

function isClean(crossing: Crossing, candidates: readonly number[], index: number): boolean {
  const bytesAt = (i: number) => crossing.bytes[candidates[i] ?? -1] ?? Number.POSITIVE_INFINITY;
  const here = bytesAt(index);
  if (here <= ONE_TENSOR * (crossing.largestBytes[candidates[index] ?? -1] ?? 0)) return true;
  return here <= SAME_BYTES * bytesAt(index - 1) && here <= SAME_BYTES * bytesAt(index + 1);
}

/** Tells whether a cut separates uses of a parameter that is used again and again. */
function insideRecurrence(graph: Graph, classes: Classes, order: readonly number[]): (cut: number) => boolean {
  const uses = graph.parameters.map((): number[] => []);
  order.forEach((node, position) => {
    if (classes.classOf[node] !== 'anchored') return;
    const parameters = (graph.nodes[node]?.inputs ?? []).flatMap((input) => classes.parametersBehind[input] ?? []);
    for (const parameter of new Set(parameters)) uses[parameter]?.push(position);
  });
  const spans = uses.filter((positions) => positions.length >= RECURRENT_USES);
  return (cut) => spans.some((positions) => (positions[0] ?? cut) < cut && cut <= (positions.at(-1) ?? -1));
}
