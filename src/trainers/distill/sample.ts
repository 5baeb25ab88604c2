/** Generated pairs in the form of stsb-multi-mt: sentences of made-up words, "translated" by a letter at every word's end. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { keyedRandom } from '../words/keyedRandom.js';
import { stsbFile } from '../words/parallelText.js';
import type { DistillConfig } from './config.js';

const ONSETS = ['b', 'd', 'f', 'g', 'k', 'l', 'm', 'n', 'p', 'r', 's', 't'];
const VOWELS = ['a', 'e', 'i', 'o', 'u'];
const COUNTS = { train: 300, dev: 60, test: 80 } as const;
const LENGTH = 6;

/** The score of a pair is 5 times the share of words the second sentence keeps. */
export async function sampleData(folder: string, { languages }: DistillConfig, seed: number): Promise<void> {
  const random = keyedRandom(seed, 0x73747362);
  const words = ONSETS.flatMap((onset) => VOWELS.map((vowel) => `${onset}${vowel}${onset}${vowel}`));
  const draw = (): string => words[Math.floor(random() * words.length)]!;
  for (const [part, count] of Object.entries(COUNTS)) {
    const pairs = Array.from({ length: count }, () => {
      const first = Array.from({ length: LENGTH }, draw);
      const kept = Math.floor(random() * (LENGTH + 1));
      const second = first.map((word, i) => (i < kept ? word : draw()));
      return { first, second, score: (5 * kept) / LENGTH };
    });
    for (const [language, name] of ['en', ...languages].entries()) {
      const say = (sentence: readonly string[]): string =>
        sentence.map((word) => (language === 0 ? word : `${word}${'xyzvwq'[(language - 1) % 6]}`)).join(' ');
      const file = join(folder, stsbFile(name, part));
      await mkdir(dirname(file), { recursive: true });
      const rows = pairs.map(({ first, second, score }) => `${say(first)},${say(second)},${score.toFixed(3)}`);
      await writeFile(file, `${rows.join('\n')}\n`);
    }
  }
}
