/** The files of the CSL benchmark: four tasks over the same papers. */
import { MerakError, readers } from '../../index.js';
import type { Task } from './config.js';

/** What a model reads and what it should write. */
export interface Example {
  readonly task: Task;
  /** 'to title', 'to category', ... */
  readonly prompt: string;
  readonly source: string;
  /** A label, a title, or keywords joined by '_'. */
  readonly target: string;
}

/** All that is known of a paper. */
export interface PaperRecord {
  readonly title: string;
  readonly abstract: string;
  readonly keywords: readonly string[];
  readonly category: string;
  readonly discipline: string;
}

const FILES: Readonly<Record<Task, { readonly stem: string; readonly source: string; readonly target: string }>> = {
  ctg: { stem: 'cls_ctg', source: 'title', target: 'category' },
  dcp: { stem: 'cls_dcp', source: 'abstract', target: 'discipline' },
  kg: { stem: 'kg', source: 'abstract and title', target: 'keywords' },
  ts: { stem: 'ts', source: 'abstract', target: 'title' },
};

export const KEYWORD_SEPARATOR = '_';

export function fileOf(folder: string, task: Task, part: string): string {
  return `${folder}/${FILES[task].stem}-${part}.tsv`;
}

/** Where a label stands, for messages. */
export const TARGET_FIELD = 3;

export interface LocatedExample extends Example {
  readonly line: number;
}

/** TSV without header: prompt, source, target. @throws MerakError trainer/data naming file, line and column */
export async function readTask(file: string, task: Task): Promise<LocatedExample[]> {
  const { source, target } = FILES[task];
  const rows = await readers.tsv(file, { columns: ['prompt', source, target], header: false });
  return rows.map((row) => {
    for (const [at, column] of ['prompt', source, target].entries()) {
      if (row.text(column).trim() !== '') continue;
      throw new MerakError('trainer/data', `a row lacks its ${column}`, {
        path: `${file}:${row.line}, column ${at + 1} (${column})`,
      });
    }
    return { task, prompt: row.text('prompt'), source: row.text(source), target: row.text(target), line: row.line };
  });
}

/**
 * The papers behind the four files of a part, whose rows describe the same papers in the same order.
 *
 * @throws MerakError trainer/data where two files do not belong together
 */
export function joinRecords(
  parts: Readonly<Record<Task, readonly LocatedExample[]>>,
  files: Readonly<Record<Task, string>>,
): PaperRecord[] {
  const { ctg, dcp, kg, ts } = parts;
  for (const task of ['dcp', 'kg', 'ctg'] as const) {
    if (parts[task].length === ts.length) continue;
    throw new MerakError('trainer/data', 'two files of a part do not have the same papers', {
      path: `${files[task]}, row ${Math.min(parts[task].length, ts.length) + 1}`,
      expected: `${ts.length} rows, as ${files.ts} has`,
      received: `${parts[task].length} rows`,
    });
  }
  return ts.map(({ source: abstract, target: title }, row) => {
    check(files.ctg, ctg[row]!, title);
    check(files.dcp, dcp[row]!, abstract);
    check(files.kg, kg[row]!, `${abstract} ${title}`);
    return {
      ...{ title, abstract },
      keywords: keywordsOf(kg[row]!.target),
      category: ctg[row]!.target,
      discipline: dcp[row]!.target,
    };
  });
}

function check(file: string, { task, source, line }: LocatedExample, expected: string): void {
  if (source === expected) return;
  throw new MerakError('trainer/data', 'a row describes another paper than the same row of the title file', {
    path: `${file}:${line}, column 2 (${FILES[task].source})`,
    expected: expected.slice(0, 60),
    received: source.slice(0, 60),
  });
}

/** The items of a list joined by '_', without empty ones. */
export function keywordsOf(text: string): string[] {
  return text
    .split(KEYWORD_SEPARATOR)
    .map((keyword) => keyword.trim())
    .filter((keyword) => keyword !== '');
}
