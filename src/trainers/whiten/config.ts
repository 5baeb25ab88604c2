/** What the whiten recipe can be told. */
import { z } from 'zod';

const count = z.int().min(1);

export const config = z.strictObject({
  pairs: z
    .string()
    .default('stsb-multi-mt/stsb-en-test.csv')
    .meta({ description: 'sentence pairs to evaluate on: CSV without header, sentence1, sentence2, score 0-5' }),
  fitPairs: z.string().default('stsb-multi-mt/stsb-en-train.csv').meta({
    description: 'sentence pairs (same form) that corpus statistics come from',
    paper: 'SNLI and MNLI',
  }),
  vectors: z.string().optional().meta({
    description:
      'a matrix of any encoder (.npy) instead of word vectors: rows 2i and 2i + 1 are the sentences of pair i',
  }),
  fitVectors: z.string().optional().meta({ description: 'a matrix (.npy) that corpus statistics come from' }),
  evaluate: z.boolean().default(true).meta({
    description: 'whether `pairs` has scores for `vectors`; false only whitens the matrix',
  }),
  corpus: z
    .array(z.string())
    .default(['stsb-multi-mt/stsb-en-train.csv', 'stsb-multi-mt/stsb-en-dev.csv', 'mpts/dev.tsv', 'mpts/test.tsv'])
    .meta({
      description: 'texts of the word vectors: .csv as pairs, .tsv with columns texta and textb, or one text a line',
    }),
  dimensions: count.default(300).meta({ description: 'of the word vectors', paper: '768 (BERT base)' }),
  window: count.default(5).meta({ description: 'words to either side that count as near', unit: 'words' }),
  minCount: count.default(2).meta({ description: 'words seen less often have no vector', unit: 'times' }),
  numContexts: count.default(4000).meta({ description: 'most frequent words that count as context', unit: 'words' }),
  smoothing: z.number().positive().max(1).default(0.75).meta({ description: 'exponent of context counts in PPMI' }),
  singularPower: z.number().min(0).max(1).default(0.5).meta({ description: 'p of the word vectors U S^p' }),
  iterations: count.default(6).meta({ description: 'of the decomposition', unit: 'steps' }),
  weighting: z
    .enum(['mean', 'sif'])
    .default('mean')
    .meta({ description: 'of words in a sentence: equal, or 1e-3 / (1e-3 + p(word)) (Arora et al. 2017)' }),
  numComponents: z.array(z.int().min(-1)).min(1).default([-1, 256, 128, 64]).meta({
    description: 'columns kept, one row of the table each; -1 all, 0 no whitening',
    paper: '256 (base), 384 (large)',
  }),
  sources: z
    .array(z.enum(['target', 'corpus']))
    .min(1)
    .default(['target', 'corpus'])
    .meta({ description: 'statistics of the evaluated sentences, or of fitPairs', paper: 'both' }),
  eps: z.number().min(0).default(1e-12).meta({ description: 'variances below it are left out', paper: 'none' }),
  blockRows: z.int().min(64).default(4096).meta({ description: 'vectors read and summed at a time', unit: 'rows' }),
  retrievalRounds: count.default(5).meta({ description: 'timed passes of all queries; the median counts' }),
});

export type WhitenConfig = z.output<typeof config>;
