/** Typed reading of kernel attributes. All raise engine/kernel when the attribute is absent or of another type. */
import type * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';

export function numberAttr(attrs: tf.NamedAttrMap, name: string, fallback?: number): number {
  const value = attrs[name] ?? fallback;
  if (typeof value === 'number') return value;
  throw wrong(name, 'a number', value);
}

export function booleanAttr(attrs: tf.NamedAttrMap, name: string, fallback?: boolean): boolean {
  const value = attrs[name] ?? fallback;
  if (typeof value === 'boolean') return value;
  throw wrong(name, 'a boolean', value);
}

export function stringAttr(attrs: tf.NamedAttrMap, name: string, fallback?: string): string {
  const value = attrs[name] ?? fallback;
  if (typeof value === 'string') return value;
  throw wrong(name, 'a string', value);
}

export function numbersAttr(attrs: tf.NamedAttrMap, name: string): number[] {
  const value = attrs[name];
  if (!Array.isArray(value)) throw wrong(name, 'an array of numbers', value);
  return value.map((element) => {
    if (typeof element === 'number') return element;
    throw wrong(name, 'an array of numbers', value);
  });
}

function wrong(name: string, expected: string, received: unknown): MerakError {
  return new MerakError('engine/kernel', `attribute "${name}" is not valid`, {
    path: name,
    expected,
    received: JSON.stringify(received) ?? 'undefined',
  });
}
