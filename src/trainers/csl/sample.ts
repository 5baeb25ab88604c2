/** Generated papers: made-up abstracts whose characters tell category and discipline, with titles and keywords drawn from them. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { keyedRandom } from '../words/keyedRandom.js';
import { type CslConfig, TASKS, type Task } from './config.js';
import { fileOf, KEYWORD_SEPARATOR } from './data.js';

/** Two disciplines a category, each with characters of its own. */
const FIELDS = [
  { category: '理学', discipline: '数学', telling: '数形代几' },
  { category: '理学', discipline: '物理学', telling: '力光电磁' },
  { category: '医学', discipline: '药学', telling: '药剂方片' },
  { category: '医学', discipline: '护理学', telling: '护病床房' },
] as const;
const FILLING = '的一是不了人我在有他这中大来上国个到说们';
const COUNTS = { train: 192, dev: 96, test: 48 } as const;
const PROMPTS: Readonly<Record<Task, string>> = {
  ctg: 'to category',
  dcp: 'to discipline',
  kg: 'to keywords',
  ts: 'to title',
};

export async function samplePapers(folder: string, { folder: inside }: CslConfig, seed: number): Promise<void> {
  const random = keyedRandom(seed, 0x63736c);
  const draw = <T>(from: ArrayLike<T>): T => from[Math.floor(random() * from.length)]!;
  const paper = (): Record<Task, readonly [string, string]> => {
    const { category, discipline, telling } = draw(FIELDS);
    const keywords = [0, 1].map((at) => `${telling[2 * at]}${telling[2 * at + 1]}`);
    const title = `${draw(telling)}${draw(FILLING)}${draw(telling)}${draw(FILLING)}`;
    const filling = Array.from({ length: 10 }, () => draw(FILLING)).join('');
    const abstract = `本文${title}，${filling}${keywords.join('')}。${draw(telling)}${draw(FILLING)}`;
    return {
      ctg: [title, category],
      dcp: [abstract, discipline],
      kg: [`${abstract} ${title}`, keywords.join(KEYWORD_SEPARATOR)],
      ts: [abstract, title],
    };
  };
  for (const [part, count] of Object.entries(COUNTS)) {
    const papers = Array.from({ length: count }, paper);
    for (const task of TASKS) {
      const path = join(folder, fileOf(inside, task, part));
      await mkdir(dirname(path), { recursive: true });
      const rows = papers.map((one) => [PROMPTS[task], ...one[task]].join('\t'));
      await writeFile(path, `${rows.join('\n')}\n`);
    }
  }
}
