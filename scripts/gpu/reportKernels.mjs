// The report's part on kernels: their errors, their rooflines, and where the time of a step goes.
import { inCell, percent } from './units.mjs';

/** `rows`: { kernel, precision, error, limit } of each output that a test compared with float64. */
export function kernelErrors(rows) {
  if (rows.length === 0) return [];
  const worst = new Map();
  for (const row of rows) {
    // JSON has no NaN: it is null there.
    const error = row.error ?? Number.POSITIVE_INFINITY;
    const key = `${row.kernel} ${row.precision}`;
    const known = worst.get(key);
    worst.set(key, {
      ...(known === undefined || error > known.error ? { ...row, error } : known),
      count: (known?.count ?? 0) + 1,
    });
  }
  const sorted = [...worst.values()].sort((a, b) => a.kernel.localeCompare(b.kernel));
  return [
    '',
    'Kernels beside a float64 reference, ||out - ref|| / ||ref||, the largest of all cases:',
    '',
    '| kernel | precision | cases | largest error | limit |',
    '| --- | --- | ---: | ---: | ---: |',
    ...sorted.map(
      ({ kernel, precision, count, error, limit }) =>
        `| ${kernel} | ${precision} | ${count} | ${error.toExponential(1)}${error <= limit ? '' : ' TOO LARGE'} | ${limit} |`,
    ),
  ];
}

/** Kernel by kernel, with all shapes together: what a step spends in it, and how much of that its roofline does not ask for. */
export function whereTimeGoes(size, { rows, numLeft }, trained) {
  if (rows.length === 0) return [];
  const sums = new Map();
  for (const { kernel, count, seconds, share } of rows) {
    const sum = sums.get(kernel) ?? { kernel, count: 0, seconds: 0, least: 0 };
    sum.count += count;
    sum.seconds += count * seconds;
    sum.least += count * seconds * Math.min(1, share);
    sums.set(kernel, sum);
  }
  const list = [...sums.values()].sort((a, b) => b.seconds - b.least - (a.seconds - a.least));
  const total = list.reduce((sum, { seconds }) => sum + seconds, 0);
  const least = list.reduce((sum, one) => sum + one.least, 0);
  const step = trained?.runs.find(({ engine, stepSeconds }) => engine === 'merak' && stepSeconds !== undefined);
  const lines = [
    '',
    `Where the time of a ${size} step goes, by kernels alone: ${(total * 1e3).toFixed(2)} ms, of which their rooflines ask for ${(least * 1e3).toFixed(2)} ms${numLeft > 0 ? ` (${numLeft} kinds were not timed)` : ''}; the update is not among them.${step ? ` The step itself, of a batch of ${trained.batchSize}: ${(step.stepSeconds * 1e3).toFixed(2)} ms.` : ''}`,
    '',
    '| kernel | runs | ms | share of the sum | share of roofline | ms over it |',
    '| --- | ---: | ---: | ---: | ---: | ---: |',
  ];
  for (const { kernel, count, seconds, least: own } of list.slice(0, 12))
    lines.push(
      `| ${kernel} | ${count} | ${(seconds * 1e3).toFixed(2)} | ${percent(seconds / total)} | ${percent(own / seconds)} | ${((seconds - own) * 1e3).toFixed(2)} |`,
    );
  return lines;
}

/** Each kernel alone. */
export function rooflines(size, { rows, failures }) {
  if (rows.length + failures.length === 0) return [];
  const lines = [
    '',
    `Kernels of a ${size} step alone, and what share of the time they take their bytes and operations would need at the rates above.`,
    '',
    '| kernel | inputs | runs | microseconds | share of roofline |',
    '| --- | --- | ---: | ---: | ---: |',
  ];
  for (const { kernel, shapes, count, seconds, share } of rows.slice(0, 40))
    lines.push(`| ${kernel} | ${shapes} | ${count} | ${(seconds * 1e6).toFixed(1)} | ${percent(share)} |`);
  for (const { kernel, message } of failures) lines.push(`| ${kernel} | ${inCell(message)} | | | |`);
  return lines;
}

/** Operations of recorded steps, one at a time (src/api/profile/topOperations.ts). */
export function operations(size, list = []) {
  if (list.length === 0) return [];
  const name = ({ name: kernel, program }) => [kernel, program].filter((part) => part !== '').join(' ');
  return [
    '',
    `Operations of ${size} steps in their order, each waited for:`,
    '',
    '| operation | runs | ms | share | shapes |',
    '| --- | ---: | ---: | ---: | --- |',
    ...list
      .slice(0, 15)
      .map(
        (one) =>
          `| ${name(one)} | ${one.runsPerStep} | ${(one.secondsPerStep * 1e3).toFixed(2)} | ${percent(one.share)} | ${one.shapes} |`,
      ),
  ];
}
