/** What a rule says of a kernel call: which factors its dims are made of, and how the call looks on one rank. */
import type { Attrs, Graph, Node } from '../graph/graph.js';
import type { Layout } from './layout.js';

/**
 * An independent index of a kernel call, as in an Einsum. Sharding one factor shards every operand dim made of it.
 * - `parallel`: each index value is computed by itself; outputs that have the factor are sharded.
 * - `sum`: outputs lack it and are sums over it: they come out partial.
 * - `meet`: outputs lack it and the kernel itself exchanges over the axis: they come out replicated.
 * - `whole`: cannot be sharded.
 */
export interface Factor {
  readonly size: number;
  readonly kind: 'parallel' | 'sum' | 'meet' | 'whole';
  /** `never`; `kept`: zeros in padding stay zeros, forward and backward; `wanted`: worth padding when it does not divide. */
  readonly padding: 'never' | 'kept' | 'wanted';
  /** Each rank must get one contiguous run of it (`parts` 1). */
  readonly contiguous: boolean;
}

/** Per dim of a tensor, the factors it is made of, major to minor (indices into `Rule.factors`). */
export type DimFactors = readonly (readonly number[])[];

/** A sharded call as one rank sees it. */
export interface LocalCall {
  readonly kernel: string;
  readonly inputNames: readonly string[];
  readonly attrs: Attrs;
  /** Every output is multiplied by it (1 when absent). */
  readonly outputScale?: number;
}

/** What a rule may know to rewrite a call whose `factor` is sharded. */
export interface LocalContext {
  readonly node: Node;
  readonly degree: number;
  /** This rank's place on the axis. */
  readonly index: number;
  /** Index into `Rule.factors` of the sharded factor. */
  readonly factor: number;
  readonly inputShapes: readonly (readonly number[])[];
  readonly outputShapes: readonly (readonly number[])[];
  readonly localInputShapes: readonly (readonly number[])[];
  readonly localOutputShapes: readonly (readonly number[])[];
  readonly inputLayouts: readonly Layout[];
  readonly outputLayouts: readonly Layout[];
}

export interface Rule {
  readonly factors: readonly Factor[];
  readonly inputs: readonly DimFactors[];
  readonly outputs: readonly DimFactors[];
  /**
   * Sets of inputs in which the call is linear while the others are fixed: when exactly these are partial and the others
   * replicated, the outputs are partial.
   */
  readonly linear: readonly (readonly number[])[];
  /** The call on one rank when a factor is sharded; the node unchanged when absent. */
  readonly localise?: (context: LocalContext) => LocalCall;
}

/** Makes the rule of one node from its shapes and attributes; undefined when it can only be replicated. */
export type RuleMaker = (node: Node, shapes: NodeShapes) => Rule | undefined;

/** Shapes of a node's operands. */
export interface NodeShapes {
  readonly inputs: readonly (readonly number[])[];
  readonly outputs: readonly (readonly number[])[];
}

export function shapesOf(graph: Graph, node: Node): NodeShapes {
  const shape = (value: number): readonly number[] => graph.values[value]?.shape ?? [];
  return { inputs: node.inputs.map(shape), outputs: node.outputs.map(shape) };
}

/** A local call that differs from the node in some attributes only. */
export function withAttrs(node: Node, attrs: Attrs): LocalCall {
  return { kernel: node.kernel, inputNames: node.inputNames, attrs: { ...node.attrs, ...attrs } };
}

/** Collects factors while a rule is being made. */
export class FactorList {
  readonly factors: Factor[] = [];

  add(size: number, kind: Factor['kind'], padding: Factor['padding'] = 'never', contiguous = false): number {
    this.factors.push({ size, kind, padding, contiguous });
    return this.factors.length - 1;
  }

  parallel(size: number, padding: Factor['padding'] = 'never'): number {
    return this.add(size, 'parallel', padding);
  }

  whole(size: number): number {
    return this.add(size, 'whole');
  }
}
