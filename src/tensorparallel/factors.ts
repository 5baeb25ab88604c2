/** Between layouts of a tensor and shards of a factor: the arithmetic all rules share. */
import { type Layout, PARTIAL, REPLICATE } from './layout.js';
import type { DimFactors, Factor, Rule } from './rule.js';
import type { ShardLayout } from './shards.js';

/** A factor split over the axis: seen as `[parts, size / parts]`, padded at its end to `paddedSize`. */
export interface FactorShard {
  readonly factor: number;
  readonly parts: number;
  readonly paddedSize: number;
}

/** Layouts of all operands of a call. */
export interface CallLayouts {
  readonly inputs: readonly Layout[];
  readonly outputs: readonly Layout[];
}

/** Whether the factor itself admits this shard on `degree` ranks. */
export function admits(factor: Factor, shard: FactorShard, degree: number): boolean {
  if (factor.kind === 'whole' || shard.paddedSize % (shard.parts * degree) !== 0) return false;
  if (factor.contiguous && shard.parts !== 1) return false;
  if (shard.paddedSize === factor.size) return true;
  return shard.paddedSize > factor.size && shard.parts === 1 && factor.padding !== 'never';
}

/** Layout of an operand when `shard` is taken: undefined if none describes it, null if the operand lacks the factor. */
function operandLayout(dims: DimFactors, factors: readonly Factor[], shard: FactorShard): Layout | null | undefined {
  for (let dim = 0; dim < dims.length; dim++) {
    const list = dims[dim] ?? [];
    const position = list.indexOf(shard.factor);
    if (position < 0) continue;
    const size = (index: number): number => factors[index]?.size ?? 1;
    const before = list.slice(0, position).reduce((total, index) => total * size(index), 1);
    const after = list.slice(position + 1).reduce((total, index) => total * size(index), 1);
    if (shard.paddedSize !== size(shard.factor) && before !== 1) return undefined;
    return { kind: 'shard', dim, parts: before * shard.parts, paddedSize: before * shard.paddedSize * after };
  }
  return null;
}

/** Layouts of all operands when `shard` is taken, or undefined when that is not legal. */
export function layoutsOf(rule: Rule, shard: FactorShard, degree: number): CallLayouts | undefined {
  const factor = rule.factors[shard.factor];
  if (factor === undefined || !admits(factor, shard, degree)) return undefined;
  const inputs: Layout[] = [];
  for (const dims of rule.inputs) {
    const layout = operandLayout(dims, rule.factors, shard);
    if (layout === undefined) return undefined;
    inputs.push(layout ?? REPLICATE);
  }
  const outputs: Layout[] = [];
  for (const dims of rule.outputs) {
    const layout = operandLayout(dims, rule.factors, shard);
    if (layout === undefined) return undefined;
    if (layout !== null) outputs.push(layout);
    else if (factor.kind === 'sum') outputs.push(PARTIAL);
    else if (factor.kind === 'meet') outputs.push(REPLICATE);
    else return undefined;
  }
  return { inputs, outputs };
}

/** The factor shard that gives an operand this layout, or undefined when none does. */
export function factorShardOf(
  dims: DimFactors,
  factors: readonly Factor[],
  layout: ShardLayout,
): FactorShard | undefined {
  const list = dims[layout.dim];
  if (list === undefined) return undefined;
  const dimSize = list.reduce((total, index) => total * (factors[index]?.size ?? 1), 1);
  let before = 1;
  for (const index of list) {
    const size = factors[index]?.size ?? 1;
    if (layout.parts < before * size && layout.parts >= before) {
      const parts = layout.parts / before;
      const after = dimSize / before / size;
      const paddedSize = layout.paddedSize / before / after;
      const whole = Number.isInteger(parts) && Number.isInteger(paddedSize);
      return whole && size % parts === 0 ? { factor: index, parts, paddedSize } : undefined;
    }
    before *= size;
  }
  return undefined;
}
