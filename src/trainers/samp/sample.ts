/** Generated rows of the same form: made-up titles in which a few syllables tell the category. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const CATEGORIES = ['alpha', 'beta', 'gamma'] as const;
const TELLING = ['日月火', '水木金', '土山川'] as const;
const FILLING = '的一是不了人我在有他这中大来上国个到说们';

export async function sampleTitles(
  folder: string,
  files: { readonly train: string; readonly dev: string; readonly test: string },
  seed: number,
): Promise<void> {
  let state = (Math.imul(seed + 1, 2654435761) + 1) >>> 0;
  // The upper half of the state: the lower bits of such a sequence repeat early.
  const draw = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 16) % below;
  };
  const row = (): string => {
    const category = draw(CATEGORIES.length);
    const letters = Array.from({ length: 6 + draw(6) }, () => FILLING[draw(FILLING.length)]!);
    for (let i = 0; i < 2; i++) letters[draw(letters.length)] = TELLING[category]![draw(3)]!;
    return `to category\t${letters.join('')}\t${CATEGORIES[category]}`;
  };
  for (const [file, count] of [
    [files.train, 480],
    [files.dev, 96],
    [files.test, 96],
  ] as const) {
    const path = join(folder, file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, `${Array.from({ length: count }, row).join('\n')}\n`);
  }
}
