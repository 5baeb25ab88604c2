/** Reshape: the common factors of the old and the new dims, found by walking both from the major end. */
import { FactorList, type RuleMaker, withAttrs } from '../rule.js';
import { product } from '../shards.js';
import { greatestCommonDivisor } from './attributes.js';

/** Factor lists per old dim and per new dim. Where the two do not divide each other, the rest of the group is whole. */
export function reshapeFactors(
  from: readonly number[],
  to: readonly number[],
  list: FactorList,
): { from: number[][]; to: number[][] } {
  const old: number[][] = from.map(() => []);
  const fresh: number[][] = to.map(() => []);
  let i = 0;
  let j = 0;
  let oldRest = from[0] ?? 1;
  let newRest = to[0] ?? 1;
  const whole = (factors: number[][], dim: number, size: number): void => {
    if (size > 1) factors[dim]?.push(list.whole(size));
  };
  while (i < from.length && j < to.length) {
    if (oldRest === 1) {
      oldRest = from[++i] ?? 1;
      continue;
    }
    if (newRest === 1) {
      newRest = to[++j] ?? 1;
      continue;
    }
    const size = greatestCommonDivisor(oldRest, newRest);
    // A common major factor is one only when it exhausts one side; otherwise it may still be split off both.
    if (size === 1) {
      // Skip to where both sides have consumed the same number of elements.
      let oldProduct = oldRest;
      let newProduct = newRest;
      whole(old, i, oldRest);
      whole(fresh, j, newRest);
      while (oldProduct !== newProduct) {
        if (oldProduct < newProduct) {
          oldProduct *= from[++i] ?? 1;
          whole(old, i, from[i] ?? 1);
        } else {
          newProduct *= to[++j] ?? 1;
          whole(fresh, j, to[j] ?? 1);
        }
      }
      oldRest = 1;
      newRest = 1;
      continue;
    }
    const factor = list.parallel(size, 'kept');
    old[i]?.push(factor);
    fresh[j]?.push(factor);
    oldRest /= size;
    newRest /= size;
  }
  return { from: old, to: fresh };
}

export const reshape: RuleMaker = (_node, shapes) => {
  const [input = []] = shapes.inputs;
  const [output = []] = shapes.outputs;
  if (product(input) !== product(output) || product(input) === 0) return undefined;
  const list = new FactorList();
  const { from, to } = reshapeFactors(input, output, list);
  return {
    factors: list.factors,
    inputs: [from],
    outputs: [to],
    linear: [[0]],
    localise: ({ node, localOutputShapes }) => withAttrs(node, { shape: localOutputShapes[0] ?? [] }),
  };
};

/** ExpandDims names only the new dim: nothing to rewrite. */
export const expandDims: RuleMaker = (node, shapes) => {
  const rule = reshape(node, shapes);
  return rule === undefined
    ? undefined
    : { factors: rule.factors, inputs: rule.inputs, outputs: rule.outputs, linear: [[0]] };
};

export const RESHAPE_RULES: ReadonlyMap<string, RuleMaker> = new Map([
  ['Reshape', reshape],
  ['ExpandDims', expandDims],
]);
