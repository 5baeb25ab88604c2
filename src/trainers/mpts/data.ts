/** Pairs of plots with a label per perspective: the files of MPTS. */
import { MerakError, readers } from '../../index.js';

export interface Pairs {
  readonly first: readonly string[];
  readonly second: readonly string[];
  /** [n, perspectives]: 1 where both belong, else 0. */
  readonly labels: Float32Array;
}

/** What a cell says: one of the two belongs, neither, both. */
const CELLS = ['-1', '0', '1'] as const;
const BOTH = CELLS.indexOf('1');

/** TSV with a header: texta, textb and a column per perspective. @throws MerakError trainer/data naming file, line and column */
export async function readPairs(file: string, perspectives: readonly string[]): Promise<Pairs> {
  const rows = await readers.tsv(file, { columns: ['texta', 'textb', ...perspectives], header: true });
  const text = (row: readers.Row, column: string): string => {
    const value = row.text(column).trim();
    if (value !== '') return value;
    throw new MerakError('trainer/data', 'a pair lacks a text', { path: `${file}:${row.line}, column ${column}` });
  };
  return {
    first: rows.map((row) => text(row, 'texta')),
    second: rows.map((row) => text(row, 'textb')),
    labels: Float32Array.from(
      rows.flatMap((row) => perspectives.map((name) => Number(row.label(name, CELLS) === BOTH))),
    ),
  };
}

/** Rows `from` to `to`. */
export function slice({ first, second, labels }: Pairs, from: number, to: number): Pairs {
  const width = labels.length / first.length;
  return {
    first: first.slice(from, to),
    second: second.slice(from, to),
    labels: labels.slice(from * width, to * width),
  };
}

/** Texts that stand in both. */
export function numShared(a: Pairs, b: Pairs): number {
  const known = new Set([...a.first, ...a.second]);
  return new Set([...b.first, ...b.second].filter((text) => known.has(text))).size;
}
