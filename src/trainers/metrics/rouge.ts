/** ROUGE-L by js-rouge. */
import { l } from 'js-rouge';
import { checkPairs } from './pairs.js';

/** What the longest common subsequence is counted in. */
export type RougeUnit = 'word' | 'character';

/**
 * ROUGE-L F1 (Lin 2004) of one text against a reference, as one sequence: words between white space, or characters
 * without white space (Chinese). 0 where either is empty.
 */
export function rougeL(candidate: string, reference: string, unit: RougeUnit = 'word'): number {
  const tokenizer = (text: string): string[] =>
    unit === 'word' ? text.split(/\s+/).filter((word) => word !== '') : [...text.replace(/\s+/g, '')];
  if (tokenizer(candidate).length === 0 || tokenizer(reference).length === 0) return 0;
  return l(candidate, reference, { tokenizer, segmenter: (text) => [text] });
}

/** The mean over pairs of texts. */
export function meanRougeL(candidates: readonly string[], references: readonly string[], unit?: RougeUnit): number {
  checkPairs('meanRougeL', candidates, references);
  return candidates.reduce((sum, text, i) => sum + rougeL(text, references[i]!, unit), 0) / candidates.length;
}
