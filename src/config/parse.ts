/** Turns records of unknown origin into Options, with errors that name the key and suggest the one meant. */
import { closest, distance } from 'fastest-levenshtein';
import type { z } from 'zod';
import { MerakError } from '../errors.js';
import { type Options, type OptionsInput, optionsSchema } from './schema.js';

/**
 * @param origin where the record came from ('wrap options', 'command line'), for messages
 * @throws MerakError config/unknown-key, config/invalid
 */
export function parseOptions(record: OptionsInput, origin: string): Options {
  return parseWith(optionsSchema, record, origin);
}

/** Says where the value at a key path came from. */
export type Origin = (path: readonly PropertyKey[]) => string;

/**
 * Parses any record by a strict zod object; the same errors for every schema.
 *
 * @param origin where the record came from, or a function that says it of a key path ('c.yaml:3:5')
 */
export function parseWith<S extends z.ZodObject>(schema: S, record: unknown, origin: string | Origin): z.output<S> {
  const result = schema.safeParse(record);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const place = (path: readonly PropertyKey[]): string =>
    `${typeof origin === 'string' ? origin : origin(path)}: ${path.join('.')}`;
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!;
    throw new MerakError('config/unknown-key', `unknown option '${key}'`, {
      path: place([...issue.path, key]),
      hint: suggestion(key, knownKeys(schema, issue.path)),
    });
  }
  const path = issue.path.join('.');
  throw new MerakError('config/invalid', path === '' ? issue.message : `option '${path}': ${issue.message}`, {
    path: place(issue.path),
    received: JSON.stringify(valueAt(record, issue.path)) ?? 'undefined',
  });
}

/** Keys of the object the schema has at a path; none where that is a union or a record. */
function knownKeys(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  const { def } = schema._zod as { readonly def: object };
  if ('innerType' in def) return knownKeys(def.innerType as z.core.$ZodType, path);
  if ('shape' in def) {
    const shape = def.shape as Readonly<Record<PropertyKey, z.core.$ZodType>>;
    const [key, ...rest] = path;
    if (key === undefined) return Object.keys(shape);
    return shape[key] === undefined ? [] : knownKeys(shape[key], rest);
  }
  if ('element' in def && path.length > 0) return knownKeys(def.element as z.core.$ZodType, path.slice(1));
  return [];
}

/** "did you mean ...?" when something is near, else the whole list. */
export function suggestion(given: string, known: readonly string[]): string {
  if (known.length === 0) return 'remove it';
  const best = closest(given, known);
  if (distance(given.toLowerCase(), best.toLowerCase()) <= Math.max(2, given.length / 3))
    return `did you mean '${best}'?`;
  return `known: ${known.join(', ')}`;
}

function valueAt(record: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined,
    record,
  );
}
