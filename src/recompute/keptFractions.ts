/** Stage-aware recomputation in closed form, for stages that are all alike (Merak's rule; merak.md section 4). */
import { MerakError } from '../errors.js';

/**
 * Per stage, the fraction of its activations kept without recomputation when stage 0 keeps `firstFraction`:
 * n_i = min(1, n_0 (p-1) / (p-1-i)), and 1 on the last stage. Under 1F1B stage i holds p - i micro-batches, so with
 * activations A of one micro-batch a stage needs [(p-1-i) n_i + 1] A, which these fractions make equal.
 *
 * `chooseKept` finds the same from bytes and seconds, without assuming anything of the stages.
 *
 * @throws MerakError 'plan/invalid' unless 0 <= firstFraction <= 1 and numStages >= 1.
 */
export function keptFractions(numStages: number, firstFraction: number): number[] {
  if (!Number.isInteger(numStages) || numStages < 1 || !(firstFraction >= 0 && firstFraction <= 1)) {
    throw new MerakError('plan/invalid', 'kept fractions need at least one stage and a fraction of 0 to 1', {
      received: `${numStages} stages, ${firstFraction}`,
    });
  }
  return Array.from({ length: numStages }, (_, stage) => {
    const after = numStages - 1 - stage;
    return after === 0 ? 1 : Math.min(1, (firstFraction * (numStages - 1)) / after);
  });
}
