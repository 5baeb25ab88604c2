/** Random graphs, and noisy copies with their nodes renumbered. */
import { type Draws, openDraws } from '../generated/draws.js';
import { type EdgeList, edgeList } from '../readers/edges.js';
import type { GRAPH_MODELS } from './config.js';

export interface GraphPair {
  readonly source: EdgeList;
  readonly target: EdgeList;
  /** By source node, its target node; -1 where there is none. Absent where nobody knows. */
  readonly truth?: Int32Array;
}

type Edge = readonly [number, number];

export interface PairOptions {
  readonly model: (typeof GRAPH_MODELS)[number];
  readonly nodes: number;
  readonly meanDegree: number;
  /** Share of the edges that differ. */
  readonly noise: number;
  readonly seed: number;
}

/** A graph, and a copy in which noise / 2 of the edges are replaced by as many new ones. May be disconnected. */
export function generatePair({ model, nodes, meanDegree, noise, seed }: PairOptions): GraphPair {
  const draws = openDraws(`${model}/${nodes}/${meanDegree}/${noise}/${seed}`);
  const source =
    model === 'erdos-renyi' ? erdosRenyi(nodes, meanDegree, draws) : barabasiAlbert(nodes, meanDegree, draws);
  const truth = draws.permutation(nodes);
  const copy = withNoise(nodes, source, noise, draws);
  const renumbered = copy.map(([a, b]) => [truth[a]!, truth[b]!] as const);
  return { source: edgeList(nodes, source), target: edgeList(nodes, renumbered), truth };
}

/** Every pair of nodes with probability meanDegree / (nodes - 1) (Erdos and Renyi 1959; Gilbert 1959). */
function erdosRenyi(nodes: number, meanDegree: number, draws: Draws): Edge[] {
  const probability = Math.min(1, meanDegree / (nodes - 1));
  const edges: Edge[] = [];
  for (let a = 0; a < nodes; a++) {
    for (let b = a + 1; b < nodes; b++) if (draws.uniform() < probability) edges.push([a, b]);
  }
  return edges.length > 0 ? edges : [[0, 1]];
}

/** Each new node joins meanDegree / 2 others, chosen in proportion to their degree (Barabasi and Albert 1999). */
function barabasiAlbert(nodes: number, meanDegree: number, draws: Draws): Edge[] {
  const joins = Math.min(nodes - 1, Math.max(1, Math.round(meanDegree / 2)));
  const edges: Edge[] = [];
  const ends: number[] = [];
  for (let node = joins; node < nodes; node++) {
    const chosen = new Set<number>();
    while (chosen.size < joins) chosen.add(ends.length === 0 ? chosen.size : ends[draws.below(ends.length)]!);
    for (const other of chosen) {
      edges.push([other, node]);
      ends.push(other, node);
    }
  }
  return edges;
}

function withNoise(nodes: number, edges: readonly Edge[], noise: number, draws: Draws): Edge[] {
  const numPairs = (nodes * (nodes - 1)) / 2;
  const numChanged = Math.min(Math.round((noise / 2) * edges.length), numPairs - edges.length);
  const keyOf = (a: number, b: number): number => Math.min(a, b) * nodes + Math.max(a, b);
  const known = new Set(edges.map(([a, b]) => keyOf(a, b)));
  const order = draws.permutation(edges.length);
  const kept = Array.from(order.subarray(numChanged), (i) => edges[i]!);
  for (let added = 0; added < numChanged; ) {
    const [a, b] = [draws.below(nodes), draws.below(nodes)];
    if (a === b || known.has(keyOf(a, b))) continue;
    known.add(keyOf(a, b));
    kept.push([a, b]);
    added++;
  }
  return kept;
}
