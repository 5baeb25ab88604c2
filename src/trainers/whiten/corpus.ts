/** The texts that word vectors are counted on. */
import { readers } from '../../index.js';

/** By the file's ending: .csv sentence pairs, .tsv with columns texta and textb, else one text a line. */
export async function readCorpus(files: readonly string[]): Promise<string[]> {
  const parts = await Promise.all(files.map(readTexts));
  return parts.flat();
}

async function readTexts(file: string): Promise<string[]> {
  if (file.endsWith('.csv')) {
    const { first, second } = await readers.sentencePairs(file);
    return [...first, ...second];
  }
  if (!file.endsWith('.tsv')) return readers.lines(file);
  const rows = await readers.tsv(file, { columns: ['texta', 'textb'], header: true });
  return rows.flatMap((row) => [row.text('texta'), row.text('textb')]);
}
