/** Runs a Merak kernel through tfjs's engine, on whatever backend is current. */
import * as tf from '@tensorflow/tfjs';
import { ensureKernels, registerGradients } from '../kernels/register.js';

/** A kernel with one output. */
export function callKernel(kernel: string, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap): tf.Tensor {
  prepare(kernel);
  return tf.engine().runKernel<tf.Tensor>(kernel, inputs, attrs);
}

/** A kernel with several outputs. */
export function callKernelMany(kernel: string, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap): tf.Tensor[] {
  prepare(kernel);
  return tf.engine().runKernel<tf.Tensor[]>(kernel, inputs, attrs);
}

/** The proxy backend brings its own shape rules, so composites are registered only where a kernel is missing. */
function prepare(kernel: string): void {
  registerGradients();
  tf.backend();
  const backendName = tf.getBackend();
  if (tf.getKernel(kernel, backendName) == null) ensureKernels(backendName);
}
