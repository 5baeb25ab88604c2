/** What the ear recipe can be told. */
import { z } from 'zod';

const count = z.int().min(1);
const rate = z.number().min(0).max(0.9);

export const variant = z.strictObject({
  name: z.string().min(1).meta({ description: 'in the tables' }),
  perturb: z.boolean().meta({ description: 'whether stream 0 holds perturbed sentences; else the originals' }),
  robust: z.boolean().meta({ description: 'L_rb: cross-entropy of the original sentence too' }),
  push: z.boolean().meta({ description: 'alpha L_ep: mean embeddings of the two are pushed apart' }),
  pull: z.boolean().meta({ description: 'beta L_ap: attention maps of the two are pulled together' }),
});
export type Variant = z.output<typeof variant>;

const VARIANTS: Variant[] = [
  { name: 'plain', perturb: false, robust: false, push: false, pull: false },
  { name: 'robust', perturb: true, robust: true, push: false, pull: false },
  { name: 'full', perturb: true, robust: true, push: true, pull: true },
];

export const config = z.strictObject({
  languages: z
    .array(z.string().min(1))
    .min(1)
    .default(['arabic', 'french', 'german', 'hindi', 'italian', 'portuguese', 'spanish'])
    .meta({ description: 'languages tested without labels of theirs', paper: '14 (XNLI), 6 (PAWS-X)' }),
  source: z.string().min(1).default('english').meta({ description: 'the language with labels', paper: 'English' }),
  parallel: z.array(z.string().min(1)).default(['en', 'de', 'fr', 'es']).meta({
    description: 'stsb-multi-mt languages whose aligned rows go into the word vectors, English first; or none',
  }),
  variants: z.array(variant).min(1).default(VARIANTS).meta({ description: 'what is compared', paper: 'full' }),
  seeds: count.default(3).meta({ description: 'runs of every variant', paper: '1 (seed 7)' }),
  alpha: z.number().min(0).default(0.1).meta({ description: 'weight of Embedding-Push', paper: '0.1' }),
  beta: z.number().min(0).default(1).meta({ description: 'weight of Attention-Pull', paper: '1' }),
  attentionPass: z
    .int()
    .min(0)
    .optional()
    .meta({ description: 'layer, from 0, whose attention is pulled; default the middle one', paper: '5 of 12' }),
  copies: count.default(3).meta({ description: 'perturbed copies of a sentence', paper: '3 or 10' }),
  replaceRate: z
    .number()
    .min(0)
    .max(1)
    .default(1)
    .meta({ description: 'share of words with synonyms that draw one of {word} and its synonyms', paper: '1' }),
  knownOnly: z
    .boolean()
    .default(false)
    .meta({ description: 'draw synonyms the vocabulary has, no others', paper: 'no' }),
  numLayers: count.default(3).meta({ description: 'transformer layers', paper: '12 (mBERT, XLM-R base)' }),
  numHeads: count.default(4).meta({ description: 'attention heads of a layer', paper: '12' }),
  hiddenSize: count.default(64).meta({ description: 'width, and size of the word vectors', paper: '768' }),
  contextLength: count.default(32).meta({ description: 'sentences are cut to so many', unit: 'tokens', paper: '128' }),
  minCount: count.default(2).meta({ description: 'words seen less often are unknown', unit: 'times' }),
  contextWords: count.default(4000).meta({ description: 'most frequent words that word vectors are counted with' }),
  pooling: z.enum(['cls', 'mean']).default('mean').meta({ description: 'what the head reads', paper: 'cls' }),
  dropout: rate.default(0.1).meta({ description: 'rate in the encoder and before the head', paper: '0.1' }),
  epochs: count
    .default(3)
    .meta({ description: 'passes over all copies', unit: 'epochs', paper: '1 (XNLI), 30 (PAWS-X)' }),
  batchSize: count.default(32).meta({ description: 'pairs of a step', unit: 'pairs', paper: '8 x 4 accumulated' }),
  learningRate: z
    .number()
    .positive()
    .default(1e-3)
    .meta({ description: 'peak (AdamW), falling linearly to 0', paper: '2e-5 (pretrained encoder)' }),
  weightDecay: z.number().min(0).default(0).meta({ description: 'decoupled', paper: '0' }),
  displacements: z.array(z.number().min(0)).default([0.6, 1]).meta({
    description: 'lengths of the vector added to every token embedding in the displaced-embedding test',
    unit: 'standard lengths of a token embedding',
  }),
});

export type EarConfig = z.output<typeof config>;
