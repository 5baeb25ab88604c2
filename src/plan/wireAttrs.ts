/** Kernel attributes on the wire. */
import type { Attr, Attrs } from '../graph/graph.js';

/** merak.plan.Attr: exactly one is set. */
export interface WireAttr {
  readonly null?: boolean;
  readonly flag?: boolean;
  readonly number?: number;
  readonly text?: string;
  readonly list?: { readonly items?: readonly WireAttr[] };
  readonly map?: WireAttrs;
  readonly numbers?: { readonly items?: readonly number[] };
}

export interface WireAttrs {
  readonly keys?: readonly string[];
  readonly values?: readonly WireAttr[];
}

export function attrsToWire(attrs: Attrs): WireAttrs {
  return { keys: Object.keys(attrs), values: Object.values(attrs).map(attrToWire) };
}

export function attrsFromWire({ keys = [], values = [] }: WireAttrs): Attrs {
  return Object.fromEntries(keys.map((key, index) => [key, attrFromWire(values[index] ?? {})]));
}

function attrToWire(attr: Attr): WireAttr {
  if (attr === null) return { null: true };
  if (typeof attr === 'boolean') return { flag: attr };
  if (typeof attr === 'number') return { number: attr };
  if (typeof attr === 'string') return { text: attr };
  if (!isList(attr)) return { map: attrsToWire(attr) };
  const numbers = attr.filter((item) => typeof item === 'number');
  if (numbers.length === attr.length && attr.length > 0) return { numbers: { items: numbers } };
  return { list: { items: attr.map(attrToWire) } };
}

function attrFromWire(wire: WireAttr): Attr {
  if (wire.flag !== undefined) return wire.flag;
  if (wire.number !== undefined) return wire.number;
  if (wire.text !== undefined) return wire.text;
  if (wire.numbers !== undefined) return [...(wire.numbers.items ?? [])];
  if (wire.list !== undefined) return (wire.list.items ?? []).map(attrFromWire);
  return wire.map === undefined ? null : attrsFromWire(wire.map);
}

function isList(attr: Attr): attr is readonly Attr[] {
  return Array.isArray(attr);
}
