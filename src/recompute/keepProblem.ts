/** A stage's recomputation as a problem of its own: what could be kept, at what price, and what making it again costs. */
import type { Derivative } from '../autodiff/derivative.js';
import { neededByBackward } from '../autodiff/needed.js';
import { valueBytes } from '../graph/cost.js';
import type { Graph, Node, ValueId } from '../graph/graph.js';
import { tensorType } from '../partitioner/producers.js';
import { align } from '../plan/memory.js';
import { storageOfValues } from '../plan/storage.js';

/** A storage (a value with its reshaped views) that a forward node makes. */
export interface KeepCandidate {
  readonly value: ValueId;
  /** Padded as the memory map pads it. */
  readonly bytes: number;
  /** Index into `nodes`. */
  readonly producer: number;
  /** Whether backward reads it: not kept, it must be made again. */
  readonly needed: boolean;
}

/** A forward node that could run again; views are free and left out. */
export interface RepeatableNode {
  /** Infinite where it must not run again: it reads a parameter that the forward pass has written by then. */
  readonly seconds: number;
  /** Candidates it reads. What lies outside (received values, fields, parameters, constants) is always there. */
  readonly inputs: readonly number[];
}

export interface KeepProblem {
  readonly candidates: readonly KeepCandidate[];
  /** In topological order. */
  readonly nodes: readonly RepeatableNode[];
  /** Bytes of all needed candidates: what one micro-batch occupies during its backward pass, kept or made again. */
  readonly neededBytes: number;
}

export type NodeSeconds = (graph: Graph, node: Node) => number;

/** `seconds` prices one forward node. */
export function keepProblem(derivative: Derivative, seconds: NodeSeconds): KeepProblem {
  const { graph, numForwardNodes } = derivative;
  const storageOf = storageOfValues(graph);
  const storage = (value: ValueId): ValueId => storageOf[value] ?? value;
  const needed = new Set([...neededByBackward(derivative)].map(storage));
  const written = new Set(graph.updates.map(({ parameter }) => graph.parameters[parameter]?.value ?? -1));
  const candidates: KeepCandidate[] = [];
  const indexOf = new Map<ValueId, number>();
  const nodes: RepeatableNode[] = [];
  for (const node of graph.nodes.slice(0, numForwardNodes)) {
    const own = node.outputs.filter((output) => storage(output) === output);
    if (own.length === 0) continue;
    const inputs = [...new Set(node.inputs.map(storage))];
    for (const value of own) {
      indexOf.set(value, candidates.length);
      const bytes = align(valueBytes(tensorType(graph, value)));
      candidates.push({ value, bytes, producer: nodes.length, needed: needed.has(value) });
    }
    nodes.push({
      seconds: inputs.some((value) => written.has(value)) ? Number.POSITIVE_INFINITY : seconds(graph, node),
      inputs: inputs.flatMap((value) => indexOf.get(value) ?? []),
    });
  }
  return {
    candidates,
    nodes,
    neededBytes: candidates.reduce((sum, { needed: wanted, bytes }) => sum + (wanted ? bytes : 0), 0),
  };
}

/** Seconds of what has to run again when exactly `kept` (indices of candidates) is kept. */
export function recomputeSeconds(problem: KeepProblem, kept: ReadonlySet<number>): number {
  return repeatedNodes(problem, kept).reduce((sum, node) => sum + (problem.nodes[node]?.seconds ?? 0), 0);
}

/** The nodes that have to run again, in descending order. */
export function repeatedNodes({ candidates, nodes }: KeepProblem, kept: ReadonlySet<number>): number[] {
  const repeats = nodes.map(() => false);
  candidates.forEach(({ producer, needed }, index) => {
    if (needed && !kept.has(index)) repeats[producer] = true;
  });
  const repeated: number[] = [];
  for (let index = nodes.length - 1; index >= 0; index--) {
    if (!repeats[index]) continue;
    repeated.push(index);
    for (const input of nodes[index]?.inputs ?? []) {
      if (!kept.has(input)) repeats[candidates[input]?.producer ?? index] = true;
    }
  }
  return repeated;
}
