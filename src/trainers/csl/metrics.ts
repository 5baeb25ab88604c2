/** The benchmark's measures (UER-py's evaluation of CSL), and what stands beside them. */
import { metrics } from '../../index.js';
import { keyedRandom } from '../words/keyedRandom.js';

/**
 * The label with the highest ROUGE-L against a generated text; one drawn at random where none shares a character with it.
 *
 * @param row keys the draw, with `seed`
 */
export function nearestLabel(text: string, labels: readonly string[], seed: number, row: number): string {
  const scores = labels.map((label) => metrics.rougeL(text, label, 'character'));
  const highest = Math.max(...scores);
  if (highest > 0) return labels[scores.indexOf(highest)]!;
  return labels[Math.floor(keyedRandom(seed, row)() * labels.length)]!;
}

/**
 * "Bpref" as the benchmark has it: each predicted keyword that is right adds 1 - (wrong ones before it) / (predictions), and
 * the sum is divided by the right ones found, not by those there are: one right keyword alone scores 1.
 */
export function foundBpref(predicted: readonly string[], relevant: readonly string[]): number {
  const wanted = new Set(relevant);
  let [hits, misses, sum] = [0, 0, 0];
  for (const keyword of predicted) {
    if (!wanted.has(keyword)) misses++;
    else {
      hits++;
      sum += 1 - misses / predicted.length;
    }
  }
  return hits === 0 ? 0 : sum / hits;
}

export interface KeywordScores {
  readonly bpref: number;
  readonly f1: number;
}

/** Means over papers. */
export function keywordScores(
  predicted: readonly (readonly string[])[],
  relevant: readonly (readonly string[])[],
): KeywordScores {
  const mean = (score: (row: number) => number): number =>
    predicted.reduce((sum, _, row) => sum + score(row), 0) / predicted.length;
  return {
    bpref: mean((row) => foundBpref(predicted[row]!, relevant[row]!)),
    f1: mean((row) => metrics.setF1(predicted[row]!, relevant[row]!).f1),
  };
}
