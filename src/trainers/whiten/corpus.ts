/** The texts that word vectors are counted on. */
import { readers } from '../../index.js';

/** By the file's name: .csv sentence pairs, .tsv with columns texta and textb, data.noun and so on WordNet, else a text a line. */
export async function readCorpus(files: readonly string[]): Promise<string[]> {
  const parts = await Promise.all(files.map(readTexts));
  return parts.flat();
}

async function readTexts(file: string): Promise<string[]> {
  if (file.endsWith('.csv')) {
    const { first, second } = await readers.sentencePairs(file);
    return [...first, ...second];
  }
  if (/(^|[/\\])data\.(noun|verb|adj|adv)$/.test(file)) return (await readers.lines(file)).flatMap(gloss);
  if (!file.endsWith('.tsv')) return readers.lines(file);
  const rows = await readers.tsv(file, { columns: ['texta', 'textb'], header: true });
  return rows.flatMap((row) => [row.text('texta'), row.text('textb')]);
}

/** The words and the definition of a synonym set (WordNet's wndb(5): number, file, kind, w_cnt, then word and lex_id each). */
function gloss(line: string): string[] {
  const [entry, definition] = line.split(' | ');
  // The licence stands at the beginning, its lines indented.
  if (definition === undefined || line.startsWith(' ')) return [];
  const [, , , count, ...rest] = entry!.split(' ');
  const words = Array.from({ length: Number.parseInt(count!, 16) }, (_, i) => rest[2 * i]!.replaceAll('_', ' '));
  return [`${words.join(' ')} ${definition}`];
}
