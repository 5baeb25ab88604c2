/** tfjs's kernel attributes as plain data. */
import type * as tf from '@tensorflow/tfjs';
import type { Attr, Attrs } from '../graph/graph.js';
import { traceError } from './failure.js';

/** Drops undefined entries and copies arrays. Raises trace/model on an attribute that is not plain data. */
export function plainAttrs(kernel: string, attrs: tf.NamedAttrMap | undefined): Attrs {
  if (attrs === undefined || attrs === null) return {};
  return plainObject(kernel, Object.entries(attrs));
}

function plainObject(kernel: string, entries: readonly (readonly [string, unknown])[]): Attrs {
  const plain: Record<string, Attr> = {};
  for (const [name, value] of entries) {
    if (value !== undefined) plain[name] = plainAttr(kernel, name, value);
  }
  return plain;
}

function plainAttr(kernel: string, name: string, value: unknown): Attr {
  if (value === null || typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean') {
    return value;
  }
  if (Array.isArray(value)) return value.map((element: unknown) => plainAttr(kernel, name, element));
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    return Array.from(value as Float32Array, Number);
  }
  if (typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype) {
    return plainObject(kernel, Object.entries(value));
  }
  throw traceError('trace/model', `attribute "${name}" of kernel ${kernel} is not plain data`, {
    expected: 'numbers, strings, booleans, and arrays of them',
    received: typeof value,
  });
}
