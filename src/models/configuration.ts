/** Checking the configuration of a model of merak.models. */
import { closest, distance } from 'fastest-levenshtein';
import { MerakError } from '../errors.js';

/** Raises config/unknown-key, with the nearest known key as a hint. */
export function checkKeys(model: string, config: object, known: readonly string[]): void {
  for (const key of Object.keys(config)) {
    if (known.includes(key)) continue;
    const nearest = closest(key, [...known]);
    throw new MerakError('config/unknown-key', `${model} has no option "${key}"`, {
      path: key,
      expected: known.join(', '),
      ...(distance(key, nearest) <= 4 ? { hint: `did you mean "${nearest}"?` } : {}),
    });
  }
}

/** Raises config/invalid unless every value is a positive integer. */
export function checkPositiveIntegers(model: string, values: Readonly<Record<string, number>>): void {
  for (const [key, value] of Object.entries(values)) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw invalid(model, key, 'a positive integer', value);
  }
}

export function invalid(model: string, key: string, expected: string, received: unknown): MerakError {
  return new MerakError('config/invalid', `${model}: ${key} is not valid`, {
    path: key,
    expected,
    received: String(received),
  });
}
