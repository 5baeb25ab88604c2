/** Tables as Markdown. */
import type { Table } from '../context.js';

export function markdownTable({ title, columns, rows, notes = [] }: Table): string {
  const cells = rows.map((row) => row.map(cellText));
  const widths = columns.map((column, i) => Math.max(column.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${columns.map((_, i) => pad(row[i] ?? '', widths[i]!, i)).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  const body = [`## ${title}`, '', line(columns), rule, ...cells.map(line), ''];
  return [...body, ...notes.map((note) => `- ${note}`), ...(notes.length > 0 ? [''] : [])].join('\n');
}

/** Whole numbers as they are, others with four decimals (or four digits where those would all be 0). */
export function cellText(value: string | number): string {
  if (typeof value === 'string') return value.replaceAll('|', '\\|').replaceAll('\n', ' ');
  if (Number.isInteger(value) || !Number.isFinite(value)) return String(value);
  return Math.abs(value) < 0.001 ? value.toExponential(3) : value.toFixed(4);
}

/** The first column reads from the left, figures line up on the right. */
function pad(text: string, width: number, column: number): string {
  return column === 0 ? text.padEnd(width) : text.padStart(width);
}
