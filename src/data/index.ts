/** `merak.data`: sources of batches. */
export { type ArrayField, arraySource } from './arrays.js';
export type { BatchSource, HostBatch } from './source.js';
export { type TensorSourceOptions, tensorSource } from './tensors.js';
export { tokenWindows } from './tokens.js';
