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

/** Parses any record by a strict zod object; the same errors for every schema. */
export function parseWith<S extends z.ZodObject>(schema: S, record: unknown, origin: string): z.output<S> {
  const result = schema.safeParse(record);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!;
    const known = Object.keys(schema.shape);
    throw new MerakError('config/unknown-key', `unknown option '${key}'`, {
      path: `${origin}: ${[...issue.path, key].join('.')}`,
      hint: suggestion(key, known),
    });
  }
  const path = issue.path.join('.');
  throw new MerakError('config/invalid', `option '${path}': ${issue.message}`, {
    path: `${origin}: ${path}`,
    received: JSON.stringify(valueAt(record, issue.path)) ?? 'undefined',
  });
}

/** "did you mean ...?" when something is near, else the whole list. */
export function suggestion(given: string, known: readonly string[]): string {
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
