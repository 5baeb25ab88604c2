/** Results as a table, for the terminal and for Markdown alike. */

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** How to read it: conventions, what is compared. */
  readonly notes: readonly string[];
}

export function renderTable({ title, columns, rows, notes }: Table): string {
  const widths = columns.map((column, i) => Math.max(column.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [`## ${title}`, '', line(columns), rule, ...rows.map(line), '', ...notes.map((note) => `- ${note}`), ''].join(
    '\n',
  );
}
