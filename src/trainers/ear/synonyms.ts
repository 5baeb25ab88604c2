/** Synonym expansion: words replaced by counter-fitted neighbours. */
import { MerakError, readers } from '../../index.js';
import { keyedRandom } from '../words/keyedRandom.js';

export type Synonyms = ReadonlyMap<string, readonly string[]>;

/** `{ word: [neighbour, ...] }` as JSON. @throws MerakError trainer/data, naming the entry */
export async function readSynonyms(file: string): Promise<Synonyms> {
  const text = await readers.readUtf8(file);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MerakError('trainer/data', `a synonym file is not JSON: ${(cause as Error).message}`, {
      path: file,
      cause,
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badEntry(file, '(the whole file)', value);
  const entries = Object.entries(value);
  for (const [word, neighbours] of entries) {
    const isList = Array.isArray(neighbours) && neighbours.every((one) => typeof one === 'string' && one !== '');
    if (!isList) throw badEntry(file, word, neighbours);
  }
  return new Map(entries as [string, string[]][]);
}

/**
 * Each word that has neighbours becomes, at `rate`, a uniform draw from itself and them (Ding et al. 2022, released data). The
 * number of words stays. The draw depends on (seed, index) alone.
 */
export function perturb(
  words: readonly string[],
  synonyms: Synonyms,
  { seed, index, rate }: { readonly seed: number; readonly index: number; readonly rate: number },
): string[] {
  const random = keyedRandom(seed, index);
  return words.map((word) => {
    const neighbours = synonyms.get(word) ?? [];
    if (neighbours.length === 0 || random() >= rate) return word;
    const drawn = Math.floor(random() * (neighbours.length + 1));
    return drawn === 0 ? word : neighbours[drawn - 1]!;
  });
}

function badEntry(file: string, word: string, received: unknown): MerakError {
  return new MerakError('trainer/data', 'a synonym file has an entry that is no list of words', {
    path: `${file}, entry '${word}'`,
    expected: '{ "word": ["neighbour", ...], ... }',
    received: JSON.stringify(received).slice(0, 80),
  });
}
