/** Measures of answers, and of the baselines that need no model. */
import { metrics } from '../../index.js';
import { knownKeywords, lead, leadCharacters, majority } from './baselines.js';
import type { Task } from './config.js';
import { keywordsOf } from './data.js';
import { foundBpref, type KeywordScores, keywordScores, nearestLabel } from './metrics.js';
import { isLabelled, type Prepared } from './prepare.js';

/** By the measure's name: accuracy (ctg, dcp), rougeL (ts), bpref and f1 (kg). */
export type Scores = Readonly<Record<string, number>>;

export interface Measured {
  readonly name: string;
  readonly task: Task;
  readonly scores: Scores;
}

/** @param answers a text for every test paper */
export function scoresOf(task: Task, answers: readonly string[], prepared: Prepared, seed: number): Scores {
  const targets = prepared.test[task].map(({ target }) => target);
  if (isLabelled(task)) {
    const labels = prepared.labels[task];
    const given = answers.map((text, row) => (labels.includes(text) ? text : nearestLabel(text, labels, seed, row)));
    return { accuracy: metrics.accuracy(given, targets) };
  }
  if (task === 'ts') return { rougeL: metrics.meanRougeL(answers, targets, 'character') };
  return { ...keywordScores(answers.map(keywordsOf), targets.map(keywordsOf)) };
}

/** For the tasks that some arm was trained on: their training rows are what a baseline may know. */
export function baselines(prepared: Prepared): Measured[] {
  const { test, training } = prepared;
  const trainingOf = (task: Task) => [...training.values()].flatMap((part) => part.get(task) ?? []);
  const measured: Measured[] = [];
  for (const task of ['ctg', 'dcp'] as const) {
    const rows = trainingOf(task);
    if (rows.length === 0) continue;
    const most = majority(rows.map(({ target }) => target));
    const targets = test[task].map(({ target }) => target);
    const accuracy = metrics.accuracy(
      targets.map(() => most),
      targets,
    );
    measured.push({ name: 'most frequent label', task, scores: { accuracy } });
  }
  if (trainingOf('ts').length > 0) {
    const titles = test.ts.map(({ target }) => target);
    for (const [name, take] of [
      ['first clause', lead],
      ['first 32 characters', leadCharacters],
    ] as const) {
      const rougeL = metrics.meanRougeL(
        test.ts.map(({ source }) => take(source)),
        titles,
        'character',
      );
      measured.push({ name: `lead: ${name}`, task: 'ts', scores: { rougeL } });
    }
  }
  const known = new Set(trainingOf('kg').flatMap(({ target }) => keywordsOf(target)));
  if (known.size > 0) {
    const predicted = test.kg.map(({ source }) => knownKeywords(source, known));
    const relevant = test.kg.map(({ target }) => keywordsOf(target));
    const scores: KeywordScores = keywordScores(predicted, relevant);
    measured.push({ name: 'known keywords in the text', task: 'kg', scores: { ...scores } });
    const first = predicted.map((one) => one.slice(0, 1));
    const bpref = first.reduce((sum, one, row) => sum + foundBpref(one, relevant[row]!), 0) / first.length;
    measured.push({
      name: 'the longest of them alone',
      task: 'kg',
      scores: { bpref, f1: keywordScores(first, relevant).f1 },
    });
  }
  return measured;
}
