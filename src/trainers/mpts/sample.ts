/** Generated pairs: made-up plots in which words tell their genres. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { keyedRandom } from '../words/keyedRandom.js';
import type { MptsConfig } from './config.js';

const FILLING = 'the a of and to in with from who finds his her house town one day then again'.split(' ');
const NUM_TELLING = 6;
const COUNTS = { train: 256, test: 96 } as const;

export async function samplePairs(
  folder: string,
  { train, test, perspectives }: MptsConfig,
  seed: number,
): Promise<void> {
  const random = keyedRandom(seed, 0x6d707473);
  const draw = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const telling = (genre: number): string =>
    `${perspectives[genre]!.toLowerCase()}${Math.floor(random() * NUM_TELLING)}`;
  const plot = (genres: readonly boolean[]): string => {
    const words = Array.from({ length: 12 }, () => draw(FILLING));
    for (const [genre, belongs] of genres.entries()) if (belongs) words.push(telling(genre), telling(genre));
    return words.sort(() => random() - 0.5).join(' ');
  };
  const row = (id: number): string => {
    const [a, b] = [0, 1].map(() => perspectives.map(() => random() < 0.4)) as [boolean[], boolean[]];
    const cells = perspectives.map((_, genre) => (a[genre] !== b[genre] ? -1 : Number(a[genre])));
    return [id, plot(a), plot(b), ...cells].join('\t');
  };
  for (const [file, count] of [
    [train, COUNTS.train],
    [test, COUNTS.test],
  ] as const) {
    const path = join(folder, file);
    await mkdir(dirname(path), { recursive: true });
    const header = ['id', 'texta', 'textb', ...perspectives].join('\t');
    await writeFile(path, `${[header, ...Array.from({ length: count }, (_, id) => row(id))].join('\n')}\n`);
  }
}
