/** Dilated and transposed convolutions, whose gradients tfjs refuses. */
import * as tf from '@tensorflow/tfjs';
import { input, numbers, only } from './access.js';
import { dilateDim, undilateDim } from './movement.js';
import type { Call, GradientRule, GradientRules } from './rule.js';

/** tfjs's own rule for kernels without dilation. */
export type Fallback = (kernel: string) => GradientRule | undefined;

/**
 * A convolution dilated by d is one with a filter of (k - 1) d + 1 taps, zeros between: its gradients are those of the
 * spread filter, read back at the taps.
 */
export function dilatedConvGradients(fallback: Fallback): GradientRules {
  const dilated =
    (kernel: string): GradientRule =>
    (dys, call) => {
      const rule = fallback(kernel);
      if (rule === undefined) return {};
      const dilations = spatial(call, 2);
      if (dilations.every((step) => step === 1)) return rule(dys, call);
      const filter = input(call, 'filter');
      const spread = dilations.reduce((taps, step, dim) => (step === 1 ? taps : dilateDim(taps, dim, step)), filter);
      const attrs = { ...call.attrs, dilations: [1, 1] };
      const gradients = rule(dys, { ...call, attrs, inputs: { ...call.inputs, filter: spread } });
      return {
        ...gradients,
        filter: () => {
          const whole = gradients.filter?.();
          if (whole === undefined) return filter;
          return dilations.reduce(
            (taps, step, dim) => (step === 1 ? taps : undilateDim(taps, dim, step, filter.shape[dim] ?? 1)),
            whole,
          );
        },
      };
    };
  return { Conv2D: dilated('Conv2D'), DepthwiseConv2dNative: dilated('DepthwiseConv2dNative') };
}

function spatial(call: Call, count: number): number[] {
  const dilations = numbers(call.attrs, 'dilations');
  if (dilations.length === 0) return Array<number>(count).fill(1);
  return dilations.length === 1 ? Array<number>(count).fill(dilations[0] ?? 1) : dilations.slice(-count);
}

export const convGradients: GradientRules = {
  // conv3dTranspose; tfjs registers no gradient for it.
  Conv3DBackpropInputV2: (dys, call) => {
    const [dy, filter] = [input(call, 'dy'), input(call, 'filter')];
    const { strides = null, pad = null } = call.attrs;
    const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap) => {
      const result = tf.engine().runKernel(kernel, inputs, attrs);
      return Array.isArray(result) ? (result[0] as tf.Tensor) : (result as tf.Tensor);
    };
    return {
      dy: () =>
        run('Conv3D', { x: only(dys), filter }, {
          strides,
          pad,
          dataFormat: 'NDHWC',
          dilations: [1, 1, 1],
        } as tf.NamedAttrMap),
      filter: () =>
        run('Conv3DBackpropFilterV2', { x: only(dys), dy }, {
          strides,
          pad,
          filterShape: filter.shape,
        } as tf.NamedAttrMap),
    };
  },
};
