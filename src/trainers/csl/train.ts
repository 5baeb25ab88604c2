/** One arm trained, and what it answers to the test papers. */
import * as tf from '@tensorflow/tfjs';
import type { TrainerContext } from '../context.js';
import { warmUpThenDecay } from '../selection/bestEpoch.js';
import { classifier } from './classifier.js';
import type { Arm, CslConfig, Task } from './config.js';
import type { CslModel } from './model.js';
import type { Prepared } from './prepare.js';
import { textToText } from './textToText.js';

export interface TrainedArm {
  readonly arm: Arm;
  readonly losses: readonly number[];
  /** A text for every test paper, by task. */
  readonly answers: Readonly<Partial<Record<Task, readonly string[]>>>;
}

export function makeModel(config: CslConfig, arm: Arm, prepared: Prepared, seed: number): CslModel {
  return (arm.model === 'classifier' ? classifier : textToText)(config, arm, prepared, seed);
}

/** Leaves the weights in the model. */
export async function trainArm(
  context: TrainerContext<CslConfig>,
  prepared: Prepared,
  arm: Arm,
  model: CslModel,
): Promise<TrainedArm> {
  const { config, log } = context;
  const { name, tasks, trainPart, epochs, learningRate } = arm;
  const examples = tasks.flatMap((task) => prepared.training.get(trainPart)!.get(task)!);
  const trained = await context.stage(
    `${name}-trained`,
    async () => {
      const source = model.source(examples);
      const optimizer = tf.train.adam(learningRate);
      const parallel = await context.wrap(model.model, { optimizer, clipNorm: 1, weightDecay: config.weightDecay });
      const { losses } = await context.fit(`train-${name}`, parallel, source, {
        epochs,
        learningRate: warmUpThenDecay(learningRate, epochs * source.numBatches!, 0.1),
      });
      await parallel.close();
      return losses;
    },
    model.variables,
  );
  const answers: Partial<Record<Task, readonly string[]>> = {};
  for (const task of tasks) {
    answers[task] = await context.stage(`${name}-${task}`, () => model.answers(prepared.test[task]));
    log.info(`${name}: ${task} answered`);
  }
  return { arm, losses: trained, answers };
}
