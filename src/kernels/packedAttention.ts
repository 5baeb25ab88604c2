/** Attention on q, k and v that lie side by side in one tensor [...,3H]; programs only, so without a gradient of its own. */
import * as tf from '@tensorflow/tfjs';
import { attention, attentionGrad } from './attention.js';
import { numbersAttr } from './attributes.js';
import { input, type KernelDefinition, type KernelInputs } from './definition.js';

/** The inputs of the kernel on separate tensors [B,T,h,d]. */
function apart(inputs: KernelInputs, attrs: tf.NamedAttrMap): KernelInputs {
  const headShape = numbersAttr(attrs, 'headShape');
  const [q, k, v] = tf.split(input(inputs, 'qkv'), 3, -1).map((third) => tf.reshape(third, headShape));
  const { qkv: _, ...others } = inputs;
  const asHeads = Object.entries(others).map(([name, tensor]) => [
    name,
    name === 'dy' || name === 'out' ? tf.reshape(tensor, headShape) : tensor,
  ]);
  return { ...Object.fromEntries(asHeads), q, k, v } as KernelInputs;
}

export const packedAttention: KernelDefinition = {
  kernel: 'MerakPackedAttention',
  inputs: ['qkv', 'mask?'],
  reference: (inputs, attrs) => attention.reference(apart(inputs, attrs), attrs),
};

export const packedAttentionGrad: KernelDefinition = {
  kernel: 'MerakPackedAttentionGrad',
  inputs: ['dy', 'out', 'logsumexp', 'qkv', 'mask?'],
  reference(inputs, attrs) {
    const gradients = attentionGrad.reference(apart(inputs, attrs), attrs) as tf.Tensor[];
    const shape = input(inputs, 'qkv').shape;
    const third = [...shape.slice(0, -1), (shape.at(-1) ?? 0) / 3];
    return tf.concat(
      gradients.map((gradient) => tf.reshape(gradient, third)),
      -1,
    );
  },
};
