/** The tables and pictures of a run: means over the pairs of a group. */
import { charts } from '../../index.js';
import type { Table } from '../context.js';
import type { Figures } from '../trainer.js';
import type { SigmaConfig } from './config.js';
import type { MatchResult } from './match.js';

export function matchingTable(results: readonly MatchResult[], config: SigmaConfig): Table {
  const at = checkpointsOf(results);
  const hasTruth = results.some(({ correctness }) => correctness !== undefined);
  const hits = hasTruth ? config.hitsAt : [];
  const rows = grouped(results).map(([group, method, runs]) => [
    group,
    method,
    runs.length,
    ...(hasTruth ? at.map((iteration) => correctnessAt(runs, iteration, iteration === at.at(-1))) : []),
    ...hits.map((k) =>
      meanOrDash(runs.flatMap((run) => run.hits.filter((hit) => hit.k === k).map(({ share }) => share))),
    ),
    mean(runs.map(({ overlap }) => overlap)),
  ]);
  return {
    title: 'Graph matching',
    columns: [
      'pairs of',
      'method',
      'runs',
      ...(hasTruth ? at.map((iteration) => `NC at ${iteration}`) : []),
      ...hits.map((k) => `hits@${k}`),
      'edge overlap',
    ],
    rows,
    notes: [
      'NC: share of the nodes matched to their true counterpart, after so many iterations; baselines at their end.',
      'K: structure matrices. Means over the runs.',
    ],
  };
}

/** Baselines stand at their own end, in the last column. */
function correctnessAt(runs: readonly MatchResult[], iteration: number, isLast: boolean): number | string {
  const found = runs.flatMap(({ checkpoints }) => checkpoints.filter((one) => one.iteration === iteration));
  if (found.length > 0) return mean(found.map(({ correctness }) => correctness));
  return isLast ? mean(runs.map(({ correctness }) => correctness!)) : '-';
}

export function inconsistencyChart(results: readonly MatchResult[]) {
  return curves(
    results,
    'trueInconsistency',
    'Structural inconsistency of true pairs',
    'share of the mean over all pairs',
  );
}

export function objectiveChart(results: readonly MatchResult[]) {
  return curves(results, 'objective', 'Objective <SI, T>', 'inconsistency');
}

function curves(results: readonly MatchResult[], field: 'trueInconsistency' | 'objective', title: string, y: string) {
  const series = grouped(results)
    .filter(([, , [first]]) => first![field].length > 0)
    .map(([group, method, runs]) => {
      const x = runs[0]![field].map((_, iteration) => iteration);
      return { name: method, panel: group, x, y: x.map((i) => mean(runs.map((run) => run[field][i]!))) };
    });
  return charts.lines({ title, x: 'iteration', y, series });
}

export function correctnessChart(results: readonly MatchResult[]) {
  return charts.bars({
    title: 'Nodes matched to their true counterpart',
    y: 'node correctness',
    bars: grouped(results).map(([category, name, runs]) => {
      const values = runs.map(({ correctness }) => correctness!);
      const value = mean(values);
      const spread = Math.sqrt(mean(values.map((one) => (one - value) ** 2)));
      return { category, name, value, ...(values.length > 1 ? { spread } : {}) };
    }),
  });
}

/** Means over all groups, by method. */
export function headline(results: readonly MatchResult[]): Figures {
  const figures: Record<string, number> = {};
  for (const method of new Set(results.map((one) => one.method))) {
    const runs = results.filter((one) => one.method === method);
    const known = runs.flatMap(({ correctness }) => (correctness === undefined ? [] : [correctness]));
    if (known.length > 0) figures[`correctness ${method}`] = mean(known);
    figures[`overlap ${method}`] = mean(runs.map(({ overlap }) => overlap));
    if (runs[0]!.objective.length > 0) figures[`objective ${method}`] = mean(runs.map((run) => run.objective.at(-1)!));
  }
  return figures;
}

function grouped(results: readonly MatchResult[]): [group: string, method: string, runs: MatchResult[]][] {
  const found = new Map<string, MatchResult[]>();
  for (const one of results) {
    const key = `${one.group}\n${one.method}`;
    found.set(key, [...(found.get(key) ?? []), one]);
  }
  return [...found.values()].map((runs) => [runs[0]!.group, runs[0]!.method, runs]);
}

function checkpointsOf(results: readonly MatchResult[]): number[] {
  const all = results.flatMap(({ checkpoints }) => checkpoints.map(({ iteration }) => iteration));
  return [...new Set(all)].sort((a, b) => a - b);
}

function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}

function meanOrDash(values: readonly number[]): number | string {
  return values.length === 0 ? '-' : mean(values);
}
