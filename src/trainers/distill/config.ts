/** What the distill recipe can be told. */
import { z } from 'zod';

const count = z.int().min(1);

export const STAGES = ['assistant', 'bottleneck', 'recurrent', 'contrastive'] as const;
export type StageKind = (typeof STAGES)[number];

export const stage = z.strictObject({
  kind: z.enum(STAGES).meta({ description: 'what is trained, and against what' }),
  epochs: count.meta({ description: 'passes over the pairs', unit: 'epochs', paper: '20, 10, 10, 60' }),
  learningRate: z.number().positive().meta({ description: 'peak (AdamW)', paper: '1.6e-4 (8e-5 for XLM-R, stage 3)' }),
  batchSize: count.meta({ description: 'pairs of a step', unit: 'pairs', paper: '64 (256 in stage 2)' }),
});
export type Stage = z.output<typeof stage>;

const CHAIN: Stage[] = [
  { kind: 'assistant', epochs: 4, learningRate: 2e-3, batchSize: 64 },
  { kind: 'bottleneck', epochs: 6, learningRate: 3e-3, batchSize: 256 },
  { kind: 'recurrent', epochs: 2, learningRate: 2e-3, batchSize: 64 },
  { kind: 'contrastive', epochs: 4, learningRate: 2e-3, batchSize: 64 },
];

export const config = z.strictObject({
  languages: z
    .array(z.string().min(1))
    .min(1)
    .default(['de', 'es'])
    .meta({ description: 'languages beside English', paper: 'de, es, it, fr, ar, tr, nl and others' }),
  trainParts: z
    .array(z.enum(['train', 'dev']))
    .min(1)
    .default(['train', 'dev'])
    .meta({ description: 'files whose aligned rows are the parallel sentences; scores are not used' }),
  pairsPerLanguage: count
    .default(6000)
    .meta({ description: 'parallel sentences of a language, at most', unit: 'pairs' }),
  stages: z
    .array(stage)
    .min(1)
    .default(CHAIN)
    .meta({ description: 'the chain; the assistant first, the others in any order or left out', paper: 'all four' }),
  ablations: z.boolean().default(true).meta({ description: 'also train chains without one or more student stages' }),
  hiddenSize: count.default(96).meta({ description: 'width of all models and of the teacher', paper: '384 or 768' }),
  numHeads: count.default(4).meta({ description: 'attention heads of a layer', paper: '12' }),
  assistantLayers: count.default(3).meta({ description: 'layers of the assistant', paper: '12' }),
  bottleneckSize: count
    .default(32)
    .meta({ description: "width of the student's word embedding", paper: '128 or 256 of 384 or 768' }),
  bottleneckStart: z.enum(['projected', 'random']).default('projected').meta({
    description: "the student's words begin as the assistant's on their leading directions, or at random",
    paper: 'random',
  }),
  layersToKeep: count
    .default(1)
    .meta({ description: 'first layers of the assistant that the student has', paper: '3 (also 6 and 12)' }),
  repeat: count.default(3).meta({ description: 'how often they run', paper: '4 (also 2 and 1)' }),
  pooling: z
    .enum(['mean', 'cls'])
    .default('mean')
    .meta({ description: 'of tokens to a sentence vector', paper: 'mean' }),
  contextLength: count.default(20).meta({ description: 'sentences are cut to so many', unit: 'tokens', paper: '128' }),
  minCount: count.default(2).meta({ description: 'words seen less often are unknown' }),
  teacherCorpus: z
    .array(z.string().min(1))
    .default([])
    .meta({ description: "more English text files for the teacher's word vectors" }),
  teacherContexts: count
    .default(4000)
    .meta({ description: "most frequent words the teacher's vectors are counted with" }),
  window: count.default(5).meta({ description: 'words to either side the teacher counts with', unit: 'words' }),
  contextWords: count.default(3000).meta({ description: 'English words that initial word vectors are counted with' }),
  latentStart: z
    .boolean()
    .default(true)
    .meta({ description: "the assistant's embedding begins with cross-lingual word vectors", paper: 'pretrained' }),
  weightDecay: z.number().min(0).default(0.01).meta({ description: 'decoupled', paper: '0.01' }),
});

export type DistillConfig = z.output<typeof config>;
