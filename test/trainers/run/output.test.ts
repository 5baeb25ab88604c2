/** Tables and plots: what is written says what was given. */
import { expect, it } from 'vitest';
import { bars, lines, scatter } from '../../../src/trainers/output/charts.js';
import { cellText, markdownTable } from '../../../src/trainers/output/markdown.js';
import { drawSvg } from '../../../src/trainers/output/svg.js';

it('writes a table', () => {
  const columns = ['model', 'size', 'score'];
  const rows = [
    ['a|b', 12, 0.5],
    ['long name', 3000000, 1e-5],
  ];
  expect(markdownTable({ title: 'T', columns, rows, notes: ['n'] }).split('\n')).toEqual([
    '## T',
    '',
    '| model     |    size |    score |',
    '|-----------|--------:|---------:|',
    '| a\\|b      |      12 |   0.5000 |',
    '| long name | 3000000 | 1.000e-5 |',
    '',
    '- n',
    '',
  ]);
  expect(cellText(Number.NaN)).toBe('NaN');
});

it('draws curves, bars and points', async () => {
  const series = ['first', 'second'].map((name, i) => ({ name, x: [0, 1, 2], y: [i, i + 1, i] }));
  const curves = await drawSvg(lines({ title: 'Loss', x: 'step', y: 'nats', series }));
  for (const text of ['Loss', 'step', 'nats', 'first', 'second']) expect(curves).toContain(`>${text}<`);
  const category = ['de', 'es'];
  const given = category.flatMap((one) =>
    ['plain', 'full'].map((name) => ({ category: one, name, value: 1, spread: 0.1 })),
  );
  const grouped = await drawSvg(bars({ title: 'By language', y: 'accuracy', bars: given }));
  for (const text of ['de', 'es', 'plain', 'full', 'accuracy']) expect(grouped).toContain(`>${text}<`);
  expect(grouped.match(/aria-roledescription="bar"/g)).toHaveLength(4);
  const points = await drawSvg(scatter({ title: 'P', x: 'a', y: 'b', series }));
  expect(points.match(/aria-roledescription="point"/g)).toHaveLength(6);
});

it('draws long runs in a small file', async () => {
  const x = Array.from({ length: 200_000 }, (_, i) => i);
  const svg = await drawSvg(lines({ title: 'long', x: 'x', y: 'y', series: [{ name: 's', x, y: x.map(Math.sin) }] }));
  expect(svg.length).toBeLessThan(400_000);
});
