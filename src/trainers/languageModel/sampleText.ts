/** A generated text: sentences of a few words in a fixed order of parts of speech, so that there is something to learn. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

const PARTS = [
  ['the', 'a', 'every', 'no'],
  ['white', 'old', 'grey', 'silent'],
  ['whale', 'ship', 'captain', 'sea'],
  ['sees', 'follows', 'fears', 'calls'],
  ['the', 'a', 'its'],
  ['wind', 'harbour', 'crew', 'storm'],
] as const;
const NUM_SENTENCES = 600;

export async function sampleText(file: string, seed: number): Promise<void> {
  const sentences: string[] = [];
  // Any mixing of the bits will do here: the text need only vary.
  let state = (seed + 1) >>> 0;
  for (let i = 0; i < NUM_SENTENCES; i++) {
    const words = PARTS.map((words) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return words[Math.floor((state / 2 ** 32) * words.length)]!;
    });
    sentences.push(`${words.join(' ')}.`);
  }
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${sentences.join(' ')}\n`);
}
