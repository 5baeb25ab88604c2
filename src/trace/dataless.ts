/** Variables that stand for data kept elsewhere: they have a shape and no memory. */
import * as tf from '@tensorflow/tfjs';
import type { DType } from '../graph/graph.js';
import { onProxyBackend } from './backend.js';
import { registerProxyKernels } from './kernels.js';
import { makeProxy } from './proxy.js';

/** Usable while tracing only; reading its values raises trace/data-read. */
export function datalessVariable(shape: readonly number[], dtype: DType): tf.Variable {
  registerProxyKernels();
  return onProxyBackend(() => {
    const engine = tf.engine();
    const dataId = makeProxy({ shape: [...shape], dtype });
    const tensor = engine.makeTensorFromTensorInfo({ dataId, shape: [...shape], dtype }, engine.backend);
    return tf.variable(tensor, false);
  });
}
