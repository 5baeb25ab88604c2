/** Arguments and results of a jitted function: nested lists and records with tensors at the leaves. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';

/** A value taken apart: tensors are numbered in order of appearance, plain values kept. */
export type Tree =
  | { readonly kind: 'tensor'; readonly index: number }
  | { readonly kind: 'list'; readonly items: readonly Tree[] }
  | { readonly kind: 'record'; readonly entries: readonly (readonly [name: string, item: Tree])[] }
  | { readonly kind: 'plain'; readonly value: unknown };

export interface Flattened {
  readonly tree: Tree;
  readonly tensors: readonly tf.Tensor[];
}

/**
 * Takes `value` apart. A variable is a plain value: it stays itself, captured by what it is passed to, unless
 * `takesVariables`. Raises trace/model on anything but tensors, numbers, strings, booleans, null, arrays and plain objects.
 */
export function flatten(value: unknown, what: string, takesVariables = false): Flattened {
  const tensors: tf.Tensor[] = [];
  const visit = (item: unknown, path: string): Tree => {
    if (item instanceof tf.Variable && !takesVariables) return { kind: 'plain', value: item };
    if (item instanceof tf.Tensor) return { kind: 'tensor', index: tensors.push(item) - 1 };
    if (Array.isArray(item)) {
      return { kind: 'list', items: item.map((element: unknown, index) => visit(element, `${path}[${index}]`)) };
    }
    if (isPlain(item)) return { kind: 'plain', value: item };
    if (typeof item === 'object' && item !== null && isRecord(item)) {
      const entries = Object.entries(item).map(([name, element]) => [name, visit(element, `${path}.${name}`)] as const);
      return { kind: 'record', entries };
    }
    throw new MerakError('trace/model', `a jitted function cannot take or give this value`, {
      path,
      expected: 'tensors, numbers, strings, booleans, and arrays and plain objects of them',
      received: item instanceof Promise ? 'a promise' : typeof item === 'object' ? item?.constructor.name : typeof item,
      ...(item instanceof Promise ? { hint: 'the function is traced: return tensors, not a promise' } : {}),
    });
  };
  return { tree: visit(value, what), tensors };
}

/** The value again, with `tensors` at the leaves. */
export function unflatten(tree: Tree, tensors: readonly tf.Tensor[]): unknown {
  switch (tree.kind) {
    case 'tensor':
      return tensors[tree.index];
    case 'list':
      return tree.items.map((item) => unflatten(item, tensors));
    case 'record':
      return Object.fromEntries(tree.entries.map(([name, item]) => [name, unflatten(item, tensors)]));
    case 'plain':
      return tree.value;
  }
}

/** What must be alike for a trace to be used again: structure, shapes, dtypes, plain values, and which variables. */
export function signatureOf({ tree, tensors }: Flattened): string {
  const describe = (item: Tree): unknown => {
    switch (item.kind) {
      case 'tensor': {
        const { shape, dtype } = tensors[item.index]!;
        return `${dtype}[${shape.join()}]`;
      }
      case 'list':
        return item.items.map(describe);
      case 'record':
        return Object.fromEntries(item.entries.map(([name, element]) => [name, describe(element)]));
      case 'plain':
        return { plain: plainKey(item.value) };
    }
  };
  return JSON.stringify(describe(tree));
}

function plainKey(value: unknown): string {
  if (value instanceof tf.Variable) return `variable ${value.id}`;
  return `${typeof value} ${Object.is(value, -0) ? '-0' : String(value)}`;
}

function isPlain(value: unknown): boolean {
  return value === null || ['undefined', 'number', 'string', 'boolean'].includes(typeof value);
}

function isRecord(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
