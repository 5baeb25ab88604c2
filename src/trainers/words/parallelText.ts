/** stsb-multi-mt: sentence pairs with scores, the same pair in the same row of every language's file. */
import { MerakError, readers } from '../../index.js';

export interface ScoredPairs {
  readonly first: readonly string[];
  readonly second: readonly string[];
  /** Similarity, 0 to 5. */
  readonly scores: readonly number[];
}

export const STSB_SOURCE =
  'stsb-multi-mt (https://github.com/PhilipMay/stsb-multi-mt; scores CC BY-SA 4.0): data/stsb-<language>-<part>.csv as stsb-multi-mt/stsb-<language>-<part>.csv';

export function stsbFile(language: string, part: string): string {
  return `stsb-multi-mt/stsb-${language}-${part}.csv`;
}

/**
 * The same part in several languages. @param files by language, the first being what the others are compared with
 * @throws MerakError trainer/data naming file, line and column; files of different lengths or scores included
 */
export async function readAligned(files: Readonly<Record<string, string>>): Promise<Map<string, ScoredPairs>> {
  const all = new Map<string, ScoredPairs>();
  for (const [language, file] of Object.entries(files)) {
    const rows = await readers.csv(file, { columns: ['sentence1', 'sentence2', 'score'], header: false });
    const pairs = {
      first: rows.map((row) => row.text('sentence1')),
      second: rows.map((row) => row.text('sentence2')),
      scores: rows.map((row) => row.number('score', { min: 0, max: 5 })),
    };
    const [reference] = all.values();
    if (reference !== undefined) checkAligned(Object.values(files)[0]!, file, reference, pairs);
    all.set(language, pairs);
  }
  return all;
}

function checkAligned(referenceFile: string, file: string, reference: ScoredPairs, pairs: ScoredPairs): void {
  const length = Math.min(reference.scores.length, pairs.scores.length);
  const same = reference.scores.length === pairs.scores.length;
  const different = pairs.scores.findIndex((score, row) => row < length && score !== reference.scores[row]);
  if (same && different === -1) return;
  const row = different === -1 ? length : different;
  throw new MerakError('trainer/data', 'the rows of two languages do not belong together', {
    path: `${file}, row ${row + 1}, column 3 (score)`,
    expected: `as in ${referenceFile}: ${reference.scores[row] ?? 'no such row'}`,
    received: String(pairs.scores[row] ?? 'no such row'),
  });
}
