/** Accuracy, precision, recall and F1 of decisions; area under the ROC curve of scores. */
import { checkPairs } from './pairs.js';

/** Share of predictions that equal their target. */
export function accuracy<Label>(predictions: ArrayLike<Label>, targets: ArrayLike<Label>): number {
  checkPairs('accuracy', predictions, targets);
  let hits = 0;
  for (let i = 0; i < targets.length; i++) if (predictions[i] === targets[i]) hits++;
  return hits / targets.length;
}

export interface F1 {
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  /** Targets that are positive. */
  readonly support: number;
}

/** Of the class `positive` against all others; each is 0 where its denominator is. */
export function f1<Label>(predictions: ArrayLike<Label>, targets: ArrayLike<Label>, positive: Label): F1 {
  checkPairs('f1', predictions, targets);
  let [hits, predicted, support] = [0, 0, 0];
  for (let i = 0; i < targets.length; i++) {
    const isPredicted = predictions[i] === positive;
    const isTarget = targets[i] === positive;
    if (isPredicted) predicted++;
    if (isTarget) support++;
    if (isPredicted && isTarget) hits++;
  }
  return { ...harmonic(hits, predicted, support), support };
}

/** The mean of the classes' F1, every class of the targets counting the same. */
export function macroF1<Label>(predictions: ArrayLike<Label>, targets: ArrayLike<Label>): number {
  checkPairs('macroF1', predictions, targets);
  const classes = [...new Set(Array.from(targets))];
  return classes.reduce((sum, label) => sum + f1(predictions, targets, label).f1, 0) / classes.length;
}

/** Of two sets: their common members against each. */
export function setF1<Item>(predicted: Iterable<Item>, target: Iterable<Item>): Omit<F1, 'support'> {
  const [a, b] = [new Set(predicted), new Set(target)];
  let hits = 0;
  for (const item of a) if (b.has(item)) hits++;
  return harmonic(hits, a.size, b.size);
}

function harmonic(hits: number, predicted: number, actual: number): Omit<F1, 'support'> {
  return {
    precision: predicted === 0 ? 0 : hits / predicted,
    recall: actual === 0 ? 0 : hits / actual,
    f1: predicted + actual === 0 ? 0 : (2 * hits) / (predicted + actual),
  };
}

/**
 * Area under the ROC curve: the share of (positive, negative) pairs that the scores put in order, ties counting half
 * (Mann and Whitney 1947). NaN where all targets are the same.
 */
export function auc(scores: ArrayLike<number>, isPositive: ArrayLike<boolean | number>): number {
  checkPairs('auc', scores, isPositive);
  const order = Array.from(scores, (_, i) => i).sort((a, b) => scores[a]! - scores[b]!);
  let [numPositive, rankSum] = [0, 0];
  for (let begin = 0; begin < order.length; ) {
    let end = begin + 1;
    while (end < order.length && scores[order[end]!] === scores[order[begin]!]) end++;
    for (let i = begin; i < end; i++) {
      if (!isPositive[order[i]!]) continue;
      numPositive++;
      rankSum += (begin + end + 1) / 2;
    }
    begin = end;
  }
  const numNegative = order.length - numPositive;
  return (rankSum - (numPositive * (numPositive + 1)) / 2) / (numPositive * numNegative);
}
