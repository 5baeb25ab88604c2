/** tfjs's cpu backend advises, on first use, to install tfjs-node for speed: beside the point where Merak trains. */
import * as tf from '@tensorflow/tfjs';

const backend = tf.findBackend('cpu');
if (backend !== null) {
  const never = { get: () => false, set: () => {}, configurable: true };
  // tfjs makes a new instance when it picks its backend, so the flag is answered for this one and for later ones.
  Object.defineProperty(backend, 'firstUse', never);
  Object.defineProperty(Object.getPrototypeOf(backend), 'firstUse', never);
}
