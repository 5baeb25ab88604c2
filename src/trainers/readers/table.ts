/** CSV and TSV files as rows, by csv-parse. */
import { CsvError, type Info, parse } from 'csv-parse/sync';
import { MerakError } from '../../errors.js';
import { makeRow, noColumn, place, type Row } from './row.js';
import { readUtf8 } from './utf8.js';

export interface TableOptions {
  /** The columns, in order where the file has no header; with a header, those that must be there. */
  readonly columns: readonly string[];
  /** Whether the first line names the columns. */
  readonly header: boolean;
}

/**
 * Comma-separated, fields quoted with `"` where needed (RFC 4180).
 *
 * @throws MerakError trainer/data, naming file, line and column
 * @example
 * const rows = await merak.readers.csv('dev.csv', { columns: ['first', 'second', 'score'], header: false });
 * const scores = rows.map((row) => row.number('score', { min: 0, max: 5 }));
 */
export function csv(file: string, options: TableOptions): Promise<Row[]> {
  return readTable(file, options, { delimiter: ',' });
}

/** Tab-separated; quotes are text like any other. @throws MerakError trainer/data, naming file, line and column */
export function tsv(file: string, options: TableOptions): Promise<Row[]> {
  return readTable(file, options, { delimiter: '\t', quote: null });
}

interface Format {
  readonly delimiter: string;
  readonly quote?: null;
}

async function readTable(file: string, { columns, header }: TableOptions, format: Format): Promise<Row[]> {
  const records = parseRecords(file, await readUtf8(file), format);
  let line = 1;
  const numbered = records.map(({ record, info }) => {
    const began = line;
    line = info.lines + 1;
    return { record, line: began };
  });
  const names = header ? numbered.shift()!.record.map((name) => name.trim()) : columns;
  for (const column of columns) if (!names.includes(column)) throw noColumn(file, column, names);
  if (numbered.length === 0) throw new MerakError('trainer/data', 'a table has no rows', { path: file });
  return numbered.map(({ record, line: at }) => {
    if (record.length === names.length) return makeRow(file, at, names, record);
    const short = record.length < names.length;
    throw new MerakError('trainer/data', short ? 'a row has too few columns' : 'a row has too many columns', {
      path: place(
        file,
        at,
        Math.min(record.length, names.length) + 1,
        short ? names[record.length]! : 'beyond the last',
      ),
      expected: `${names.length} columns: ${names.join(', ')}`,
      received: `${record.length}: ${record.join(' | ').slice(0, 80)}`,
    });
  });
}

function parseRecords(file: string, text: string, format: Format): { record: string[]; info: Info }[] {
  try {
    const options = { ...format, relaxColumnCount: true, skipEmptyLines: true, info: true, bom: true };
    // csv-parse's types leave out what `info` does to the result.
    return parse(text, options) as unknown as { record: string[]; info: Info }[];
  } catch (cause) {
    const line = cause instanceof CsvError && typeof cause.lines === 'number' ? `:${cause.lines}` : '';
    throw new MerakError('trainer/data', `a table cannot be read: ${(cause as Error).message}`, {
      path: `${file}${line}`,
      cause,
    });
  }
}
