/** Graphs as edge lists: two node numbers a line. */
import { MerakError } from '../../errors.js';
import { lines } from './lines.js';

/** An undirected graph without loops or repeated edges; nodes are 0 to numNodes - 1. */
export interface EdgeList {
  readonly numNodes: number;
  /** [edges], the smaller end of each. */
  readonly from: Int32Array;
  /** [edges], the larger end of each. */
  readonly to: Int32Array;
}

export interface EdgeListOptions {
  /** Nodes without edges may follow the last one named; default: one more than the largest number named. */
  readonly numNodes?: number;
}

/**
 * Two node numbers a line, between them white space or a comma; lines that begin with # and empty ones are skipped.
 * Repeated edges (in either direction) count once.
 *
 * @throws MerakError trainer/data, naming file and line: no two numbers, a loop, a number beyond `numNodes`, no edge
 */
export async function edges(file: string, { numNodes }: EdgeListOptions = {}): Promise<EdgeList> {
  const pairs: [number, number][] = [];
  let largest = -1;
  for (const [index, line] of (await lines(file)).entries()) {
    const text = line.trim();
    if (text === '' || text.startsWith('#')) continue;
    const match = /^(\d+)(?:\s*,\s*|\s+)(\d+)$/.exec(text);
    const fail = (message: string, expected: string): MerakError =>
      new MerakError('trainer/data', message, { path: `${file}:${index + 1}`, expected, received: text.slice(0, 80) });
    if (match === null) throw fail('a line is no edge', 'two node numbers from 0');
    const [a, b] = [Number(match[1]), Number(match[2])];
    if (a === b) throw fail('an edge joins a node to itself', 'two different nodes');
    const end = Math.max(a, b);
    const limit = numNodes ?? MAX_NODES;
    if (end >= limit) throw fail('an edge names a node that is not there', `numbers below ${limit}`);
    largest = Math.max(largest, end);
    pairs.push(a < b ? [a, b] : [b, a]);
  }
  if (pairs.length === 0) throw new MerakError('trainer/data', 'a graph has no edges', { path: file });
  return edgeList(numNodes ?? largest + 1, pairs);
}

/** Numbers of nodes are kept as int32. */
const MAX_NODES = 2 ** 31 - 1;

/** Sorted, without repetitions. */
export function edgeList(numNodes: number, pairs: readonly (readonly [number, number])[]): EdgeList {
  const keys = Float64Array.from(pairs, ([a, b]) => Math.min(a, b) * numNodes + Math.max(a, b)).sort();
  const kept = keys.filter((key, i) => i === 0 || key !== keys[i - 1]);
  return {
    numNodes,
    from: Int32Array.from(kept, (key) => Math.floor(key / numNodes)),
    to: Int32Array.from(kept, (key) => key % numNodes),
  };
}

/** Edges that end in each node. */
export function degrees({ numNodes, from, to }: EdgeList): Int32Array {
  const counts = new Int32Array(numNodes);
  for (const ends of [from, to]) for (const node of ends) counts[node]!++;
  return counts;
}

/** Connected components: by node, the smallest node of its component. */
export function components({ numNodes, from, to }: EdgeList): Int32Array {
  const parent = Int32Array.from({ length: numNodes }, (_, node) => node);
  const rootOf = (node: number): number => {
    let root = node;
    while (parent[root] !== root) {
      parent[root] = parent[parent[root]!]!;
      root = parent[root]!;
    }
    return root;
  };
  for (const [i, a] of from.entries()) {
    const [x, y] = [rootOf(a), rootOf(to[i]!)];
    parent[Math.max(x, y)] = Math.min(x, y);
  }
  return parent.map((_, node) => rootOf(node));
}
