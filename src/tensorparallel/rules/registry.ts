/** The rule of any node: by kernel, and "everything replicated" for a kernel nobody wrote a rule for. */
import type { Graph, Node } from '../../graph/graph.js';
import { type Rule, type RuleMaker, shapesOf } from '../rule.js';
import { CONV_RULES } from './conv.js';
import { ELEMENTWISE_RULES } from './elementwise.js';
import { FUSED_RULES } from './fused.js';
import { GATHER_RULES } from './gather.js';
import { MATMUL_RULES } from './matmul.js';
import { MOVEMENT_RULES } from './movement.js';
import { REDUCE_RULES } from './reduce.js';
import { RESHAPE_RULES } from './reshape.js';
import { SLICE_RULES } from './slices.js';

const RULES: ReadonlyMap<string, RuleMaker> = new Map([
  ...ELEMENTWISE_RULES,
  ...MATMUL_RULES,
  ...RESHAPE_RULES,
  ...MOVEMENT_RULES,
  ...SLICE_RULES,
  ...REDUCE_RULES,
  ...CONV_RULES,
  ...GATHER_RULES,
  ...FUSED_RULES,
]);

/** Kernels that have a rule of their own. */
export const KERNELS_WITH_RULES: readonly string[] = [...RULES.keys()];

/** How `node` may lie on the axis; no factors at all when it can only be replicated. */
export function ruleOf(graph: Graph, node: Node): Rule {
  const shapes = shapesOf(graph, node);
  const rule = RULES.get(node.kernel)?.(node, shapes);
  if (rule !== undefined) return rule;
  const unsplit = (shape: readonly number[]): number[][] => shape.map(() => []);
  return { factors: [], inputs: shapes.inputs.map(unsplit), outputs: shapes.outputs.map(unsplit), linear: [] };
}
