/** Generated sentence pairs: topics with words of their own, a score by how many of a pair's words share a topic. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const TOPICS = [
  ['whale', 'ship', 'captain', 'harbour', 'wind', 'sail'],
  ['bread', 'oven', 'flour', 'baker', 'butter', 'dough'],
  ['violin', 'concert', 'piano', 'melody', 'choir', 'drum'],
  ['snow', 'valley', 'summit', 'glacier', 'climb', 'rope'],
] as const;
const COMMON = ['the', 'of', 'and', 'a', 'with', 'near'] as const;
const WORDS = 4;

/** Writes `files.csv` of pairs and `files.tsv` of texts. */
export async function samplePairs(folder: string, files: readonly string[], seed: number): Promise<void> {
  let state = (Math.imul(seed + 7, 2654435761) + 1) >>> 0;
  const draw = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 16) % below;
  };
  const sentence = (topic: number, strays: number): string => {
    const words = Array.from({ length: WORDS }, (_, i) => {
      const from = TOPICS[i < strays ? (topic + 1 + draw(TOPICS.length - 1)) % TOPICS.length : topic]!;
      return `${COMMON[draw(COMMON.length)]} ${from[draw(from.length)]}`;
    });
    return words.join(' ');
  };
  for (const file of new Set(files)) {
    const path = join(folder, file);
    await mkdir(dirname(path), { recursive: true });
    const rows = Array.from({ length: 240 }, (_, i) => {
      const topic = draw(TOPICS.length);
      const strays = draw(WORDS + 1);
      const pair = [sentence(topic, 0), sentence(topic, strays)];
      return file.endsWith('.tsv') ? `${i}\t${pair.join('\t')}` : `${pair.join(',')},${5 - strays}`;
    });
    const header = file.endsWith('.tsv') ? ['id\ttexta\ttextb'] : [];
    await writeFile(path, `${[...header, ...rows].join('\n')}\n`);
  }
}
