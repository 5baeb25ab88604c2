/** Byte-pair encoding's training (Sennrich et al. 2016): the most frequent neighbours become one symbol, again and again. */
import { LargestFirst } from './heap.js';

export interface Word {
  readonly symbols: readonly string[];
  readonly count: number;
}

export interface Merge {
  readonly left: string;
  readonly right: string;
  readonly merged: string;
}

export interface MergeOptions {
  readonly maxMerges: number;
  /** Pairs seen less often are left apart. */
  readonly minCount: number;
  /** How two symbols are written as one. */
  join(left: string, right: string): string;
}

const SEPARATOR = '\u0000';

/** The merges in the order they were made; of pairs seen equally often the first in code-unit order. */
export function mergePairs(words: readonly Word[], { maxMerges, minCount, join }: MergeOptions): Merge[] {
  const texts = words.map(({ symbols }) => [...symbols]);
  const counts = new Map<string, number>();
  const places = new Map<string, Set<number>>();
  const heap = new LargestFirst();
  /** Adds what a word says about its pairs (sign 1), or takes it back (sign -1); notes which pairs changed. */
  const tally = (index: number, sign: 1 | -1, changed: Set<string>): void => {
    const symbols = texts[index]!;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const key = `${symbols[i]}${SEPARATOR}${symbols[i + 1]}`;
      counts.set(key, (counts.get(key) ?? 0) + sign * words[index]!.count);
      changed.add(key);
      if (sign === 1) places.set(key, (places.get(key) ?? new Set()).add(index));
    }
  };
  const offer = (keys: Set<string>): void => {
    for (const key of keys) {
      const count = counts.get(key) ?? 0;
      if (count >= minCount) heap.push({ key, count });
    }
  };
  const seen = new Set<string>();
  for (const index of words.keys()) tally(index, 1, seen);
  offer(seen);

  const merges: Merge[] = [];
  while (merges.length < maxMerges) {
    const best = heap.pop();
    if (best === undefined) break;
    // An entry made before the count changed: the pair is in the heap again with its present count.
    if (counts.get(best.key) !== best.count) continue;
    const [left, right] = best.key.split(SEPARATOR) as [string, string];
    const merged = join(left, right);
    merges.push({ left, right, merged });
    const changed = new Set<string>();
    for (const index of places.get(best.key) ?? []) {
      tally(index, -1, changed);
      texts[index] = mergeIn(texts[index]!, left, right, merged);
      tally(index, 1, changed);
    }
    counts.delete(best.key);
    places.delete(best.key);
    changed.delete(best.key);
    offer(changed);
  }
  return merges;
}

function mergeIn(symbols: readonly string[], left: string, right: string, merged: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < symbols.length; i++) {
    const isPair = symbols[i] === left && symbols[i + 1] === right;
    out.push(isPair ? merged : symbols[i]!);
    if (isPair) i++;
  }
  return out;
}
