/** Gradients that are added up where they are made: no scratch for them, and no second pass over memory. */
import type { ValueId } from '../graph/graph.js';
import { VIEWS } from '../graph/views.js';
import type { Address, Step } from './buildProgram.js';

/** Kernels that, with `accumulate`, add to their output where it lies. */
const ADDING: ReadonlySet<string> = new Set(['BatchMatMul', '_FusedMatMul', 'MerakEmbeddingGrad', 'MerakColumnSum']);

/**
 * `gradient += view(product(a, b))`, all read once, becomes `gradient += product(a, b)` in one node. Earlier than the steps
 * said, which is safe: nothing but accumulations touches `gradients` inside a program.
 *
 * @param addressOf undefined for what lies in scratch
 */
export function joinAccumulations(
  steps: readonly Step[],
  addressOf: (value: ValueId) => Address | undefined,
): readonly Step[] {
  const makers = new Map(steps.flatMap((step, at) => step.outputs.map((value): [ValueId, number] => [value, at])));
  const numUses = new Map<ValueId, number>();
  for (const value of steps.flatMap(({ inputs }) => inputs)) numUses.set(value, (numUses.get(value) ?? 0) + 1);

  const joined: (Step | undefined)[] = [...steps];
  steps.forEach((step, at) => {
    const { target, node } = step;
    if (node.kernel !== 'MerakAccumulate' || target?.space !== 'gradients') return;
    const between = [at];
    for (let value = step.inputs[0]; value !== undefined; ) {
      const maker = makers.get(value);
      if (maker === undefined || numUses.get(value) !== 1 || addressOf(value) !== undefined) return;
      const made = steps[maker]!;
      if (VIEWS.has(made.node.kernel)) {
        between.push(maker);
        value = made.inputs[0];
        continue;
      }
      if (!ADDING.has(made.node.kernel) || made.outputs.length !== 1) return;
      const attrs = { ...made.node.attrs, accumulate: true };
      joined[maker] = { ...made, node: { ...made.node, attrs }, target };
      for (const one of between) joined[one] = undefined;
      return;
    }
  });
  return joined.filter((step) => step !== undefined);
}
