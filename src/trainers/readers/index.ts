/** `merak.readers`: data files with errors that name file, line and column. */
export { components, degrees, type EdgeList, type EdgeListOptions, edgeList, edges } from './edges.js';
export { jsonl, lines } from './lines.js';
export { type NpyFile, openNpy, type RowSource, rowsInMemory, writeNpy } from './npy.js';
export type { Row } from './row.js';
export { type SentencePairs, sentencePairs } from './sentencePairs.js';
export { csv, type TableOptions, tsv } from './table.js';
export { readUtf8 } from './utf8.js';
