/** What the samp recipe can be told. */
import { z } from 'zod';
import { CALIBRATORS, GRANULARITIES } from '../../index.js';

const count = z.int().min(1);

export const config = z.strictObject({
  train: z
    .string()
    .default('csl-benchmark/cls_ctg-train.tsv')
    .meta({ description: 'training rows: prompt, title, category' }),
  dev: z.string().default('csl-benchmark/cls_ctg-dev.tsv').meta({ description: 'rows by which layers are chosen' }),
  test: z
    .string()
    .default('csl-benchmark/cls_ctg-test.tsv')
    .meta({ description: 'rows the chosen plan is reported on' }),
  numLayers: count.default(4).meta({ description: 'transformer layers', paper: '12 (BERT base)' }),
  hiddenSize: count.default(256).meta({ description: 'width', paper: '768' }),
  numHeads: count.default(4).meta({ description: 'attention heads of a layer', paper: '12' }),
  contextLength: count
    .default(32)
    .meta({ description: 'titles are cut to so many', unit: 'characters', paper: '128 tokens' }),
  epochs: count.default(3).meta({ description: 'passes over the training rows' }),
  batchSize: count.default(32).meta({ description: 'rows of a training step, and of a measured batch', unit: 'rows' }),
  learningRate: z
    .number()
    .positive()
    .default(1e-3)
    .meta({ description: 'peak (AdamW); rises over a tenth, then falls to zero' }),
  dropout: z.number().min(0).max(0.9).default(0.1).meta({ description: 'rate on embeddings and residual branches' }),
  checkpoint: z
    .string()
    .optional()
    .meta({ description: 'folder of a checkpoint of such a model; nothing is trained then' }),
  modes: z
    .array(z.enum(['ffn', 'full']))
    .min(1)
    .default(['ffn', 'full'])
    .meta({ description: 'Quant-FFN-Only, Fully-Quant, or both', paper: 'both' }),
  layerOrder: z.enum(['prefix', 'suffix']).default('prefix').meta({ description: 'which layers come first' }),
  calibrator: z
    .enum(CALIBRATORS)
    .default('max')
    .meta({ description: 'how activation ranges are set', paper: 'not known' }),
  percentile: z
    .number()
    .positive()
    .max(100)
    .default(99.99)
    .meta({ description: 'of the percentile calibrator', unit: '%' }),
  calibrationRows: count
    .default(512)
    .meta({ description: 'training rows whose activations are observed', unit: 'rows' }),
  weightGranularity: z
    .enum(GRANULARITIES)
    .default('channel')
    .meta({ description: 'weight scales per matrix or per output' }),
  minMetric: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .meta({ description: 'the fastest plan with at least this dev accuracy' }),
  maxLatency: z
    .number()
    .positive()
    .optional()
    .meta({ description: 'the most accurate plan that takes at most so long per batch', unit: 'ms' }),
  decayThreshold: z.number().min(0).default(0.005).meta({
    description:
      'accuracy that may be lost per unit of relative speed-up, when neither requirement is given; a loss within its standard error is none',
    paper: 'accuracy-decay-aware; value not known',
  }),
  latencyRounds: count.default(15).meta({ description: 'timed runs of every plan, interleaved; the median counts' }),
  threads: count.default(1).meta({ description: 'engine threads of the measured predictions' }),
});

export type SampConfig = z.output<typeof config>;
