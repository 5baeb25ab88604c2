/** One record of a table and its fields as text, numbers or labels, with errors that say where. */
import { closest } from 'fastest-levenshtein';
import { MerakError } from '../../errors.js';

export interface Row {
  /** Of the file, from 1; the first line of a record that has several. */
  readonly line: number;
  text(column: string): string;
  /** @throws MerakError trainer/data unless it is a number in the range */
  number(column: string, range?: { readonly min?: number; readonly max?: number }): number;
  /** The place in `labels`. @throws MerakError trainer/data for any other text */
  label(column: string, labels: readonly string[]): number;
}

export function makeRow(file: string, line: number, columns: readonly string[], fields: readonly string[]): Row {
  const text = (column: string): string => {
    const at = columns.indexOf(column);
    if (at === -1) throw noColumn(file, column, columns);
    return fields[at]!;
  };
  const fail = (column: string, message: string, expected: string, hint?: string): MerakError =>
    new MerakError('trainer/data', message, {
      path: place(file, line, columns.indexOf(column) + 1, column),
      expected,
      received: JSON.stringify(text(column)),
      ...(hint === undefined ? {} : { hint }),
    });
  return {
    line,
    text,
    number(column, { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = {}) {
      const given = text(column).trim();
      const value = Number(given);
      if (given !== '' && value >= min && value <= max) return value;
      const bounds = Number.isFinite(min) || Number.isFinite(max) ? ` from ${min} to ${max}` : '';
      throw fail(column, `'${column}' is not a number${bounds}`, `a number${bounds}`);
    },
    label(column, labels) {
      const at = labels.indexOf(text(column));
      if (at !== -1) return at;
      const hint = `did you mean '${closest(text(column), labels)}'?`;
      throw fail(column, `'${column}' has an unknown label`, labels.join(', '), hint);
    },
  };
}

export function place(file: string, line: number, field: number, column: string): string {
  return `${file}:${line}, column ${field} (${column})`;
}

export function noColumn(file: string, column: string, columns: readonly string[]): MerakError {
  return new MerakError('trainer/data', `there is no column '${column}'`, {
    path: `${file}:1`,
    expected: column,
    received: columns.join(', '),
    ...(columns.length > 0 ? { hint: `nearest: '${closest(column, columns)}'` } : {}),
  });
}
