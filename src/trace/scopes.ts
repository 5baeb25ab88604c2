/** Where in the model a kernel runs: names of the tf.layers layers being applied, else of the user's tf.tidy scopes. */
import * as tf from '@tensorflow/tfjs';
import { patch } from './patch.js';

const layers: string[] = [];

/** tfjs's own scopes say nothing about the model. */
const TFJS_SCOPES = new Set(['unnamed scope', 'forward', 'backward']);

export function currentScope(): string {
  if (layers.length > 0) return layers.join('/');
  const { scopeStack } = tf.engine().state;
  return scopeStack
    .map(({ name }) => name)
    .filter((name) => !TFJS_SCOPES.has(name) && !name.endsWith('__op'))
    .join('/');
}

/** While applied, every layer's `apply` counts as a scope named after the layer. */
export function patchLayerScopes(): () => void {
  return patch(tf.layers.Layer.prototype, 'apply', (apply) => {
    return function (this: tf.layers.Layer, ...args: Parameters<typeof apply>): ReturnType<typeof apply> {
      layers.push(this.name);
      try {
        return apply.apply(this, args);
      } finally {
        layers.pop();
      }
    };
  });
}
