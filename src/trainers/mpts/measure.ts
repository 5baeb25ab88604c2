/** Accuracy, AUC, precision, recall and F1 by perspective, and their means weighted by the number of positives. */
import { metrics } from '../../index.js';

export interface Scores {
  readonly accuracy: number;
  /** NaN where all labels are the same. */
  readonly auc: number;
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  /** Positive pairs. */
  readonly support: number;
}

/** @param logits [n, perspectives]; positive is yes: sigmoid 0.5. @param labels alike, 0 or 1 */
export function scoresOf(logits: ArrayLike<number>, labels: Float32Array, numPerspectives: number): Scores[] {
  return Array.from({ length: numPerspectives }, (_, at) => {
    const rows = Array.from({ length: labels.length / numPerspectives }, (_, row) => row * numPerspectives + at);
    const [scores, targets] = [rows.map((i) => logits[i]!), rows.map((i) => labels[i]! === 1)];
    const decisions = scores.map((score) => score > 0);
    return {
      accuracy: metrics.accuracy(decisions, targets),
      auc: metrics.auc(scores, targets),
      ...metrics.f1(decisions, targets, true),
    };
  });
}

const MEASURES = ['accuracy', 'auc', 'precision', 'recall', 'f1'] as const;
export type Measure = (typeof MEASURES)[number];

/** The headline of the paper's code: perspectives without a positive do not count. */
export function weighted(scores: readonly Scores[]): Record<Measure, number> {
  const counted = scores.filter(({ support }) => support > 0);
  const total = counted.reduce((sum, { support }) => sum + support, 0);
  const mean = (measure: Measure): number =>
    counted.reduce((sum, one) => sum + one[measure] * one.support, 0) / Math.max(1, total);
  return Object.fromEntries(MEASURES.map((measure) => [measure, mean(measure)])) as Record<Measure, number>;
}
