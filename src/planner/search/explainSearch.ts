/** Why the planner chose what it chose: the winner, the best of each family, and what holds the others back. */
import { formatBytes } from '../../plan/memoryReport.js';
import type { Cluster } from './cluster.js';
import type { Timed } from './evaluate.js';
import { describeChoice, familyOf } from './family.js';
import type { SearchResult } from './searchLayout.js';

export function explainSearch(
  result: Omit<SearchResult, 'explanation'>,
  cluster: Cluster,
  memoryLimitBytes: number,
): string {
  const { best, families, impossible } = result;
  const width = Math.max(...[...families, ...impossible].map((one) => nameOf(one).length));
  return [
    `for ${cluster.name}, ${formatBytes(memoryLimitBytes)} each: ${describeChoice(best.choice)}`,
    `  a step takes ${formatSeconds(best.stepSeconds)} by simulation: ${shares(best)}; ${formatBytes(best.peakBytes)} at most`,
    `  ${result.numChoices} choices, ${result.numSimulated} simulated; the best of each family:`,
    ...families.map((timed, index) => {
      const times = timed.stepSeconds / best.stepSeconds;
      const slower =
        times > 1.005 ? `${times.toFixed(2)}x as long: ${reasonToLose(timed, best)}` : 'as fast, less simple';
      const verdict = index === 0 ? 'chosen' : slower;
      return `  ${nameOf(timed).padEnd(width)}  ${formatSeconds(timed.stepSeconds).padStart(8)}  ${verdict} (${describeChoice(timed.choice)})`;
    }),
    ...impossible.map(
      (one) =>
        `  ${nameOf(one).padEnd(width)}  does not fit: ${formatBytes(one.leastBytes)} at the least (${describeChoice(one.choice)})`,
    ),
    ...explainVariants(result),
  ].join('\n');
}

/** One line per decision of the winner that could have been another. */
function explainVariants({ best, variants }: Pick<SearchResult, 'best' | 'variants'>): string[] {
  if (variants.length === 0) return [];
  const width = Math.max(...variants.map(({ change }) => change.length));
  return [
    '  the same with one decision changed:',
    ...variants.map(({ change, stepSeconds, peakBytes }) => {
      const name = `  ${change.padEnd(width)}`;
      if (!Number.isFinite(stepSeconds)) return `${name}  does not fit: ${formatBytes(peakBytes)}`;
      const times = stepSeconds / best.stepSeconds;
      return `${name}  ${formatSeconds(stepSeconds).padStart(8)}  ${times.toFixed(3)}x, ${formatBytes(peakBytes)}`;
    }),
  ];
}

function nameOf(one: { readonly choice: Timed['choice'] }): string {
  return familyOf(one.choice);
}

/** The largest of the costs that exceed the winner's. */
function reasonToLose(timed: Timed, best: Timed): string {
  const costs: [string, (of: Timed) => number][] = [
    ['computing', (of) => of.computeSeconds],
    ['recomputing for lack of memory', (of) => of.recomputeSeconds],
    ['tensor ranks meeting in every layer', (of) => of.exchangeSeconds],
    ['reducing gradients and updating', (of) => of.closingSeconds],
    [timed.choice.mesh.pp > 1 ? 'pipeline bubble and waiting' : 'waiting for cores that others use', waitingSeconds],
  ];
  const [name, more] = costs
    .map(([what, of]): [string, number] => [what, of(timed) - of(best)])
    .reduce((worst, one) => (one[1] > worst[1] ? one : worst));
  return more <= 0 ? 'as good' : `${formatSeconds(more)} more of ${name}`;
}

function waitingSeconds(timed: Timed): number {
  const busy = timed.computeSeconds + timed.recomputeSeconds + timed.exchangeSeconds + timed.closingSeconds;
  return Math.max(0, timed.stepSeconds - busy);
}

function shares(timed: Timed): string {
  const percent = (seconds: number) => `${Math.round((100 * seconds) / timed.stepSeconds)} %`;
  const parts: [string, number][] = [
    ['computing', timed.computeSeconds],
    ['recomputing', timed.recomputeSeconds],
    ['tensor exchange', timed.exchangeSeconds],
    ['gradients and update', timed.closingSeconds],
    ['waiting', waitingSeconds(timed)],
  ];
  return parts
    .filter(([, seconds]) => seconds >= 0.005 * timed.stepSeconds)
    .map(([what, seconds]) => `${percent(seconds)} ${what}`)
    .join(', ');
}

export function formatSeconds(seconds: number): string {
  if (seconds >= 1) return `${seconds.toPrecision(3)} s`;
  return seconds >= 1e-3 ? `${(seconds * 1e3).toPrecision(3)} ms` : `${(seconds * 1e6).toPrecision(3)} us`;
}
