/** Generated tweets: made-up words of which some tell the sentiment, with a "language" that marks every word. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { keyedRandom } from '../words/keyedRandom.js';
import { stsbFile } from '../words/parallelText.js';
import type { EarConfig } from './config.js';
import { SYNONYM_FILE, tweetFiles } from './data.js';

const TELLING = [
  ['sad', 'bad', 'awful', 'grim'],
  ['plain', 'usual', 'common', 'even'],
  ['good', 'glad', 'great', 'fine'],
];
const FILLING = ['sea', 'ship', 'crew', 'wind', 'rope', 'sail', 'mast', 'port', 'deck', 'wave'];
const COUNTS = { train: 192, val: 48, test: 48 } as const;
const NUM_PAIRS = 120;

export async function sampleData(folder: string, config: EarConfig, seed: number): Promise<void> {
  const random = keyedRandom(seed, 0x656172);
  const draw = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const sentence = (label: number): string[] => {
    const words = Array.from({ length: 4 + Math.floor(random() * 4) }, () => draw(FILLING));
    for (let i = 0; i < 2; i++) words[Math.floor(random() * words.length)] = draw(TELLING[label]!);
    return words;
  };
  // The source keeps its words; another language's end in a letter of its own.
  const spoken = (words: readonly string[], language: number): string =>
    words.map((word) => (language === 0 ? word : `${word}${'abcdefghijklmnopqrstuvwxyz'[language % 26]}`)).join(' ');
  const write = async (file: string, rows: readonly string[]): Promise<void> => {
    const path = join(folder, file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, `${rows.join('\n')}\n`);
  };
  for (const [language, name] of [config.source, ...config.languages].entries()) {
    for (const [part, count] of Object.entries(COUNTS)) {
      const labels = Array.from({ length: count }, () => Math.floor(random() * TELLING.length));
      const files = tweetFiles(name, part);
      await write(
        files.texts,
        labels.map((label) => spoken(sentence(label), language)),
      );
      await write(files.labels, labels.map(String));
    }
  }
  const pairs = Array.from({ length: NUM_PAIRS }, (_, row) => [sentence(row % 3), sentence((row >> 1) % 3)] as const);
  for (const [language, name] of config.parallel.entries()) {
    const rows = pairs.map(([a, b], row) => `${spoken(a, language)},${spoken(b, language)},${(row % 6).toFixed(1)}`);
    await write(stsbFile(name, 'train'), rows);
  }
  const synonyms = TELLING.flatMap((words) => words.map((word) => [word, words.filter((other) => other !== word)]));
  await write(SYNONYM_FILE, [JSON.stringify(Object.fromEntries(synonyms))]);
}
