/** What the csl recipe can be told. */
import { z } from 'zod';

const count = z.int().min(1);

/** Category and discipline of a paper, its keywords, its title. */
export const TASKS = ['ctg', 'dcp', 'kg', 'ts'] as const;
export type Task = (typeof TASKS)[number];

const arm = z.strictObject({
  name: z
    .string()
    .regex(/^[\w-]+$/)
    .meta({ description: 'what tables call it' }),
  model: z.enum(['text-to-text', 'classifier']).default('text-to-text').meta({
    description: 'an encoder-decoder, or an encoder with a head per task (ctg and dcp)',
    paper: 'T5, BART, Pegasus',
  }),
  tasks: z.array(z.enum(TASKS)).min(1).meta({ description: 'trained together', paper: 'one each, and all four' }),
  trainPart: z
    .enum(['train', 'dev'])
    .default('train')
    .meta({ description: 'whose rows are trained on', paper: 'train' }),
  sourceLength: count.default(512).meta({ description: 'sources are cut to so many', unit: 'tokens', paper: '512' }),
  targetLength: count
    .default(48)
    .meta({ description: 'targets, end included', unit: 'tokens', paper: '48 (default 32)' }),
  epochs: count.default(5).meta({ description: 'passes over the training rows', paper: '5' }),
  learningRate: z
    .number()
    .positive()
    .default(3e-4)
    .meta({ description: 'peak (AdamW); rises over a tenth, then falls to zero', paper: '3e-4' }),
  dropout: z
    .number()
    .min(0)
    .max(0.9)
    .default(0.1)
    .meta({ description: 'rate on embeddings and residual branches', paper: '0.1' }),
});

export const config = z.strictObject({
  folder: z
    .string()
    .default('csl-benchmark')
    .meta({ description: 'of cls_ctg-, cls_dcp-, kg- and ts-{train,dev,test}.tsv' }),
  testPart: z.enum(['dev', 'test']).default('test').meta({ description: 'whose rows are measured on' }),
  arms: z
    .array(arm)
    .min(1)
    .default([arm.parse({ name: 'multi-task', tasks: [...TASKS] })])
    .meta({ description: 'models, trained one after another' }),
  prompt: z
    .boolean()
    .default(true)
    .meta({ description: "whether a source begins with its file's prompt, such as 'to title'", paper: 'true' }),
  vocabularySize: count.default(5000).meta({ description: 'characters of the training rows', paper: '21128' }),
  numLayers: count.default(2).meta({ description: 'layers of the encoder, and of the decoder', paper: '12' }),
  hiddenSize: count.default(128).meta({ description: 'width', paper: '768' }),
  numHeads: count.default(4).meta({ description: 'attention heads of a layer', paper: '12' }),
  batchSize: count.default(24).meta({ description: 'rows of a step', unit: 'rows', paper: '24' }),
  weightDecay: z.number().min(0).default(0.01).meta({ description: 'of AdamW', paper: '0.01' }),
});

export type CslConfig = z.output<typeof config>;
export type Arm = z.output<typeof arm>;
