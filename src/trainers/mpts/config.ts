/** What the mpts recipe can be told. */
import { z } from 'zod';
import { models } from '../../index.js';

const count = z.int().min(1);

/** The genres of the paper. */
export const PERSPECTIVES = [
  'Action',
  'Adventure',
  'Animation',
  'Comedy',
  'Crime',
  'Drama',
  'Family',
  'Fantasy',
  'Mystery',
  'Romance',
  'Sci-Fi',
  'Thriller',
] as const;

export const MODES = ['single', 'bi', 'cross'] as const;
export type Mode = (typeof MODES)[number];

export const config = z.strictObject({
  train: z.string().default('mpts/train.tsv').meta({ description: 'training pairs' }),
  test: z.string().default('mpts/test.tsv').meta({ description: 'pairs the models are measured on' }),
  perspectives: z
    .array(z.string().min(1))
    .min(1)
    .default([...PERSPECTIVES])
    .meta({ description: 'columns that are asked about, one question each', paper: '12 genres' }),
  modes: z
    .array(z.enum(MODES))
    .min(1)
    .default([...MODES])
    .meta({
      description: 'one similarity for all perspectives, a bi-encoder with a map each, a cross-encoder',
      paper: 'bi, cross',
    }),
  encoder: z
    .enum(['transformer', 'bag'])
    .default('transformer')
    .meta({ description: 'what reads a text; bag: the mean of its words, weighted by idf', paper: 'BERT' }),
  checkpoint: z
    .string()
    .optional()
    .meta({ description: 'Hugging Face folder of an encoder to begin with', paper: 'BERT, RoBERTa, SBERT, SimCSE' }),
  initial: z
    .enum(['random', 'counts'])
    .default('random')
    .meta({ description: 'the token table begins random, or as word vectors counted on the training plots' }),
  vocabularySize: count.default(12000).meta({ description: 'words of the training plots', paper: '30522 (BERT)' }),
  numLayers: count.default(2).meta({ description: 'transformer layers', paper: '2 to 24' }),
  hiddenSize: count.default(96).meta({ description: 'width', paper: '128 to 1024' }),
  numHeads: count.default(4).meta({ description: 'attention heads of a layer', paper: '2 to 16' }),
  pooling: z
    .enum(models.POOLINGS)
    .default('mean')
    .meta({ description: 'a vector of one text (single, bi)', paper: 'mean' }),
  crossPooling: z
    .enum(models.POOLINGS)
    .default('cls')
    .meta({ description: 'a vector of a pair (cross)', paper: 'cls' }),
  joint: z.enum(['tokens', 'features']).default('tokens').meta({
    description: 'what cross reads: both texts as one sequence, or [a, b, |a - b|, a b] of their vectors',
    paper: 'tokens',
  }),
  temperature: z.number().positive().default(0.5).meta({ description: 'of the cosines (single, bi)', paper: '0.5' }),
  contextLength: count
    .default(128)
    .meta({ description: 'texts are cut to so many (single, bi)', unit: 'tokens', paper: '128' }),
  jointLength: count
    .default(256)
    .meta({ description: 'pairs are cut to so many (cross on tokens)', unit: 'tokens', paper: '256' }),
  dropout: z
    .number()
    .min(0)
    .max(0.9)
    .default(0.1)
    .meta({ description: 'rate on embeddings and residual branches; in a bag on words', paper: '0.1' }),
  epochs: count.default(10).meta({ description: 'passes over the training pairs', paper: '10' }),
  batchSize: count.default(32).meta({ description: 'pairs of a step', unit: 'pairs', paper: '32' }),
  learningRate: z
    .number()
    .positive()
    .default(5e-5)
    .meta({ description: 'peak (AdamW); rises over a tenth, then falls to zero', paper: '5e-5' }),
  weightDecay: z.number().min(0).default(0.01).meta({ description: 'of AdamW', paper: '0.01' }),
  heldOut: z.number().min(0).max(0.5).default(0.1).meta({
    description: 'share of the training pairs, the last, by whose weighted F1 the epoch is chosen; 0: the last epoch',
    paper: 'best F1 on dev.tsv',
  }),
  numSeeds: count.default(1).meta({ description: 'runs of each model, from --seed on', paper: '1 (seed 7)' }),
});

export type MptsConfig = z.output<typeof config>;
