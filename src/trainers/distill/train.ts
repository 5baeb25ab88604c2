/** One stage of a chain as a training run of its own. */
import * as tf from '@tensorflow/tfjs';
import { data } from '../../index.js';
import type { TrainerContext } from '../context.js';
import type { DistillConfig, Stage } from './config.js';
import { type SentenceEncoder, stageLoss, trainedIn } from './model.js';
import type { Pairs } from './prepare.js';

/** Share of the steps in which the learning rate rises. */
const WARM_UP = 0.1;

/** Trains what the stage moves and freezes the rest; the losses of its steps. */
export function trainStage(
  context: TrainerContext<DistillConfig>,
  pairs: Pairs,
  name: string,
  { kind, epochs, learningRate, batchSize }: Stage,
  student: SentenceEncoder,
  assistant: SentenceEncoder,
): Promise<readonly number[]> {
  const { seed, config } = context;
  const body = async (): Promise<readonly number[]> => {
    const moved = new Set(trainedIn(kind, student));
    for (const one of [...assistant.encoder.variables, ...student.encoder.variables]) one.trainable = moved.has(one);
    const source = batches(pairs, config, batchSize, seed);
    const steps = epochs * source.numBatches!;
    const rise = Math.ceil(WARM_UP * steps);
    const parallel = await context.wrap(stageLoss(kind, student, assistant), {
      optimizer: tf.train.adam(learningRate, 0.9, 0.999, 1e-6),
      clipNorm: 1,
      weightDecay: config.weightDecay,
    });
    try {
      const { losses } = await context.fit(`train-${name}`, parallel, source, {
        epochs,
        learningRate: (step) => learningRate * Math.min((step + 1) / rise, (steps - step) / (steps - rise + 1)),
      });
      return losses;
    } finally {
      await parallel.close();
    }
  };
  return context.stage(name, body, [...student.encoder.variables]);
}

function batches(
  pairs: Pairs,
  { contextLength, hiddenSize }: DistillConfig,
  batchSize: number,
  seed: number,
): ReturnType<typeof data.arraySource> {
  const { numSamples } = pairs;
  const tokens = (['english', 'englishMask', 'foreign', 'foreignMask'] as const).map((name) => ({
    spec: { name, shape: [contextLength], dtype: 'int32' as const },
    data: pairs[name],
  }));
  const teacher = { spec: { name: 'teacher', shape: [hiddenSize], dtype: 'float32' as const }, data: pairs.teacher };
  return data.arraySource([...tokens, teacher], {
    numSamples,
    batchSize: Math.min(batchSize, numSamples),
    shuffle: true,
    seed,
  });
}
