/** Scored sentence pairs in the form of stsb-multi-mt. */
import { csv } from './table.js';

export interface SentencePairs {
  readonly first: readonly string[];
  readonly second: readonly string[];
  /** 0 (unrelated) to 5 (the same meaning). */
  readonly scores: Float32Array;
}

/** CSV without header: sentence1, sentence2, score. @throws MerakError trainer/data naming file, line and column */
export async function sentencePairs(file: string): Promise<SentencePairs> {
  const rows = await csv(file, { columns: ['sentence1', 'sentence2', 'score'], header: false });
  return {
    first: rows.map((row) => row.text('sentence1')),
    second: rows.map((row) => row.text('sentence2')),
    scores: Float32Array.from(rows, (row) => row.number('score', { min: 0, max: 5 })),
  };
}
