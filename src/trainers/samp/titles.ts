/** Titles with their categories: the rows of the CSL benchmark's cls_ctg files. */
import { MerakError, readers } from '../../index.js';

export interface Titles {
  readonly texts: readonly string[];
  /** Index into `categories`. */
  readonly labels: Int32Array;
}

export interface TitleData {
  /** Of the training rows, in code point order. */
  readonly categories: readonly string[];
  readonly train: Titles;
  readonly dev: Titles;
  readonly test: Titles;
}

const COLUMNS = ['prompt', 'title', 'category'] as const;

/** @throws MerakError trainer/data naming file, line and column; a category of dev or test that training lacks included */
export async function readTitles(files: {
  readonly train: string;
  readonly dev: string;
  readonly test: string;
}): Promise<TitleData> {
  const rowsOf = (file: string) => readers.tsv(file, { columns: COLUMNS, header: false });
  const [train, dev, test] = await Promise.all([rowsOf(files.train), rowsOf(files.dev), rowsOf(files.test)]);
  const categories = [...new Set(train.map((row) => row.text('category')))].sort();
  if (categories.length < 2) {
    throw new MerakError('trainer/data', 'there is nothing to tell apart: all training rows have one category', {
      path: `${files.train}, column 3 (category)`,
      received: categories.join(', '),
    });
  }
  const titles = (rows: typeof train): Titles => ({
    texts: rows.map((row) => row.text('title')),
    labels: Int32Array.from(rows, (row) => row.label('category', categories)),
  });
  return { categories, train: titles(train), dev: titles(dev), test: titles(test) };
}
