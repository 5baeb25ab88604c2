/** Rules of the kernels that `localise` makes, so that a local graph can be split along its batch. */
import type { Graph, Node } from '../../graph/graph.js';
import {
  type DimFactors,
  FactorList,
  type LocalContext,
  type NodeShapes,
  type Rule,
  type RuleMaker,
  shapesOf,
  withAttrs,
} from '../rule.js';
import { ruleOf } from './registry.js';

/** The ranks exchange the same elements whatever batch they belong to. */
const elementwise: RuleMaker = (_node, shapes) => {
  const list = new FactorList();
  const dims = (shapes.inputs[0] ?? []).map((size) => [list.parallel(size)]);
  return { factors: list.factors, inputs: [dims], outputs: [dims], linear: [] };
};

/** Attributes that count along the sharded dim: all shrink with the number of its parts. */
const ALONG_DIM = ['parts', 'size', 'paddedSize'] as const;

/** The dim exchanged is `[parts, rest]` on both sides; the batch may be (a major piece of) its parts. */
const exchange: RuleMaker = (node, shapes) => {
  const { dim, parts } = node.attrs;
  const input = shapes.inputs[0] ?? [];
  const output = shapes.outputs[0] ?? [];
  if (typeof dim !== 'number' || typeof parts !== 'number') return undefined;
  const list = new FactorList();
  const major = list.parallel(parts);
  const others = input.map((size, d) => (d === dim ? -1 : list.parallel(size)));
  const along = (size: number): number[] => [major, list.whole(size / parts)];
  const dims = (shape: readonly number[]): DimFactors =>
    others.map((factor, d) => (d === dim ? along(shape[d] ?? parts) : [factor]));
  const localise = ({ factor, degree }: LocalContext) => {
    if (factor !== major) return withAttrs(node, {});
    const scaled = ALONG_DIM.flatMap((name): [string, number][] => {
      const value = node.attrs[name];
      return typeof value === 'number' ? [[name, value / degree]] : [];
    });
    return withAttrs(node, Object.fromEntries(scaled));
  };
  return { factors: list.factors, inputs: [dims(input)], outputs: [dims(output)], linear: [], localise };
};

/** logits [N, Vlocal], labels [N] -> loss [N], logsumexp [N]: by rows. */
const vocabParallelCrossEntropy: RuleMaker = (_node, shapes) => {
  const [rows = 1, columns = 1] = shapes.inputs[0] ?? [];
  const list = new FactorList();
  const samples = [list.parallel(rows)];
  return {
    factors: list.factors,
    inputs: [[samples, [list.whole(columns)]], [samples]],
    outputs: [[samples], [samples]],
    linear: [],
  };
};

const RULES: ReadonlyMap<string, RuleMaker> = new Map<string, RuleMaker>([
  ['MerakAllReduce', elementwise],
  ['MerakFanOut', elementwise],
  ['MerakAllGather', exchange],
  ['MerakReduceScatter', exchange],
  ['MerakShard', exchange],
  ['MerakVocabParallelCrossEntropy', vocabParallelCrossEntropy],
]);

/** `ruleOf` for graphs of one rank, in which the collectives are nodes. */
export function ruleOfLocal(graph: Graph, node: Node): Rule {
  const maker = RULES.get(node.kernel);
  const shapes: NodeShapes = shapesOf(graph, node);
  return maker?.(node, shapes) ?? ruleOf(graph, node);
}
