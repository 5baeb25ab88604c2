/** Reading a node's attributes as the type they should have. All raise plan/invalid when they have another. */
import { MerakError } from '../errors.js';
import type { Attr, Attrs } from './graph.js';

export function numberAttr(attrs: Attrs, name: string, fallback?: number): number {
  const value = attrs[name] ?? fallback;
  if (typeof value === 'number') return value;
  throw wrong(name, 'a number', value);
}

export function booleanAttr(attrs: Attrs, name: string, fallback?: boolean): boolean {
  const value = attrs[name] ?? fallback;
  if (typeof value === 'boolean') return value;
  throw wrong(name, 'a boolean', value);
}

export function stringAttr(attrs: Attrs, name: string, fallback?: string): string {
  const value = attrs[name] ?? fallback;
  if (typeof value === 'string') return value;
  throw wrong(name, 'a string', value);
}

export function numbersAttr(attrs: Attrs, name: string, fallback?: readonly number[]): number[] {
  const value = attrs[name] ?? fallback;
  if (isNumbers(value)) return [...value];
  throw wrong(name, 'an array of numbers', value);
}

/** A number or an array of them, as tfjs writes strides, axes, sizes: always an array of at least one. */
export function numberOrNumbersAttr(attrs: Attrs, name: string, fallback?: number | readonly number[]): number[] {
  const value = attrs[name] ?? fallback;
  if (typeof value === 'number') return [value];
  if (isNumbers(value)) return [...value];
  throw wrong(name, 'a number or an array of numbers', value);
}

export function stringsAttr(attrs: Attrs, name: string): string[] {
  const value = attrs[name];
  if (Array.isArray(value) && value.every((element) => typeof element === 'string')) return [...value] as string[];
  throw wrong(name, 'an array of strings', value);
}

/** Rows of numbers: paddings, crops. */
export function rowsAttr(attrs: Attrs, name: string): number[][] {
  const value = attrs[name];
  if (Array.isArray(value) && value.every(isNumbers)) return value.map((row: readonly number[]) => [...row]);
  throw wrong(name, 'an array of arrays of numbers', value);
}

function isNumbers(value: Attr | undefined): value is readonly number[] {
  return Array.isArray(value) && value.every((element) => typeof element === 'number');
}

function wrong(name: string, expected: string, received: Attr | undefined): MerakError {
  return new MerakError('plan/invalid', `attribute "${name}" is not valid`, {
    path: name,
    expected,
    received: JSON.stringify(received) ?? 'undefined',
  });
}
