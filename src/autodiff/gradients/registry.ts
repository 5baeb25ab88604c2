/** The gradient rule of every kernel: ours first, then those registered with tfjs (its own and Merak's kernels'). */
import * as tf from '@tensorflow/tfjs';
import { convGradients, dilatedConvGradients } from './conv.js';
import { elementwiseGradients } from './elementwise.js';
import { gatherGradients } from './gather.js';
import { matmulGradients } from './matmul.js';
import { movementGradients } from './movement.js';
import { normalizeGradients } from './normalize.js';
import { averagePoolGradients } from './pool.js';
import { reductionGradients } from './reduction.js';
import { resizeGradients } from './resize.js';
import type { GradientRule, GradientRules } from './rule.js';

const ours: GradientRules = {
  ...elementwiseGradients,
  ...reductionGradients,
  ...matmulGradients,
  ...movementGradients,
  ...gatherGradients,
  ...normalizeGradients,
  ...convGradients,
  ...dilatedConvGradients(tfjsRule),
  ...averagePoolGradients(tfjsRule),
  ...resizeGradients(tfjsRule),
};

/** Kernels whose gradient here differs from tfjs's registry; docs/bugs.md says why. */
export const overriddenKernels: readonly string[] = Object.keys(ours);

/** The rule for `kernel`, or undefined when it has no gradient. */
export function gradientRule(kernel: string): GradientRule | undefined {
  return ours[kernel] ?? tfjsRule(kernel);
}

/** Our rule where tfjs's own is wrong, missing or wasteful; undefined where tfjs's is used. */
export function overriddenGradientRule(kernel: string): GradientRule | undefined {
  return ours[kernel];
}

function tfjsRule(kernel: string): GradientRule | undefined {
  const config = tf.getGradient(kernel);
  if (config === undefined || config === null) return undefined;
  return (dys, call) => {
    const named = (config.inputsToSave ?? []).map((name) => call.inputs[name]);
    const saved = config.saveAllInputs === true ? Object.values(call.inputs) : named;
    const outputs = call.outputs.filter((_, index) => config.outputsToSave?.[index] === true);
    const dy = dys.length === 1 ? dys[0] : [...dys];
    // tfjs's own types demand tensors where optional inputs may be absent.
    const tensors = [...saved, ...outputs] as tf.Tensor[];
    return config.gradFunc(dy as tf.Tensor, tensors, call.attrs as tf.NamedAttrMap) as Record<string, () => tf.Tensor>;
  };
}
