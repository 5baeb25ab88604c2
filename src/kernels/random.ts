/** MerakDropout and MerakRandom: counter-based, so that any layout draws the same numbers. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { drawNormal, drawUniform, type RandomStream, type Region } from '../graph/philox.js';
import { numberAttr, numbersAttr, stringAttr } from './attributes.js';
import { input, type KernelDefinition } from './definition.js';
import { randomContext } from './randomContext.js';

/** Where a random op's local piece lies in the whole model and the whole batch; docs/kernels.md. */
function placeOf(attrs: tf.NamedAttrMap, shape: readonly number[]): { stream: RandomStream; region: Region } {
  const { seed, step, microBatch } = randomContext();
  const offsets = numbersAttr(attrs, 'offsets');
  const batchDim = numberAttr(attrs, 'batchDim');
  if (batchDim >= 0) {
    const { batchExtent = shape[batchDim]! } = attrs as { readonly batchExtent?: number };
    offsets[batchDim] = offsets[batchDim]! + microBatch * batchExtent;
  }
  const region = { shape, globalShape: numbersAttr(attrs, 'globalShape'), offsets };
  return { stream: { seed, step, node: numberAttr(attrs, 'node') }, region };
}

export const dropout: KernelDefinition = {
  kernel: 'MerakDropout',
  inputs: ['x'],
  reference(inputs, attrs) {
    const x = input(inputs, 'x');
    const rate = numberAttr(attrs, 'rate');
    if (!(rate >= 0 && rate < 1)) {
      throw new MerakError('engine/kernel', 'a dropout rate is out of range', {
        expected: 'a number in [0, 1)',
        received: String(rate),
      });
    }
    const { stream, region } = placeOf(attrs, x.shape);
    const scale = Math.fround(1 / (1 - rate));
    const factors = drawUniform(stream, region).map((uniform) => (uniform >= rate ? scale : 0));
    return tf.mul(x, tf.tensor(factors, x.shape, 'float32'));
  },
  gradient: {
    gradFunc: (dy, _saved, attrs) => ({
      x: () => tf.engine().runKernel<tf.Tensor>('MerakDropout', { x: dy as tf.Tensor }, attrs),
    }),
  },
};

export const random: KernelDefinition = {
  kernel: 'MerakRandom',
  inputs: [],
  reference(_inputs, attrs) {
    const shape = numbersAttr(attrs, 'shape');
    const kind = stringAttr(attrs, 'kind');
    const a = numberAttr(attrs, 'a');
    const b = numberAttr(attrs, 'b');
    const { stream, region } = placeOf(attrs, shape);
    if (kind === 'uniform') {
      const values = drawUniform(stream, region);
      return tf.tensor(
        values.map((uniform) => a + (b - a) * uniform),
        shape,
        'float32',
      );
    }
    if (kind === 'normal') {
      const values = drawNormal(stream, region);
      return tf.tensor(
        values.map((normal) => a + b * normal),
        shape,
        'float32',
      );
    }
    throw new MerakError('engine/kernel', 'unknown distribution', {
      path: 'kind',
      expected: "'uniform' or 'normal'",
      received: kind,
    });
  },
};
