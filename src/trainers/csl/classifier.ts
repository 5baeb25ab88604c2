/** The classification model: one encoder over characters, the mean of its output, a linear head per task. */
import * as tf from '@tensorflow/tfjs';
import { type Batch, type CallOptions, data, jit, models, nn } from '../../index.js';
import type { Arm, CslConfig } from './config.js';
import type { Example } from './data.js';
import type { CslModel } from './model.js';
import { isLabelled, type LabelledTask, type Prepared } from './prepare.js';

const STDDEV = 0.02;
const ROWS_AT_ONCE = 128;

export function classifier(config: CslConfig, arm: Arm, { tokenizer, labels }: Prepared, seed: number): CslModel {
  const { numLayers, hiddenSize, numHeads, batchSize } = config;
  const { sourceLength, dropout, name } = arm;
  const tasks = arm.tasks.filter(isLabelled);
  const encoder = models.encoder({
    ...{ vocabularySize: tokenizer.vocabularySize, contextLength: sourceLength },
    ...{ numLayers, hiddenSize, numHeads, dropout, seed, name, numSegments: 1 },
  });
  const heads = tasks.map((task) => {
    const [of, numClasses] = [`${name}/${task}`, labels[task].length];
    const initializer = { kind: 'normal', mean: 0, stddev: STDDEV } as const;
    return {
      task,
      weight: nn.variable(`${of}/weight`, [hiddenSize, numClasses], initializer, { seed }),
      bias: nn.variable(`${of}/bias`, [numClasses], { kind: 'constant', value: 0 }, { seed }),
    };
  });
  const variables = [...encoder.variables, ...heads.flatMap(({ weight, bias }) => [weight, bias])];

  /** [b, H]. */
  function pooled({ tokens, mask }: Batch, training: boolean): tf.Tensor2D {
    const { hidden } = encoder.encode({ tokens: tokens!, mask: mask! }, { training });
    return nn.dropout(models.pool('mean', hidden, mask), { rate: dropout, training });
  }

  /** Cross-entropy of each row's own task: the other heads have label -1, which counts nothing. */
  function loss(batch: Batch, { training }: CallOptions): tf.Scalar {
    const vectors = pooled(batch, training);
    const losses = heads.map(({ task, weight, bias }) =>
      nn.softmaxCrossEntropy(nn.dense(vectors, weight, bias), batch[task]!),
    );
    return tf.mean(losses.reduce((sum, one) => tf.add(sum, one)));
  }

  const encoded = (examples: readonly Example[]) =>
    tokenizer.batch(
      examples.map(({ source }) => source),
      sourceLength,
    );

  return {
    model: { loss },
    variables,
    source(examples) {
      const { tokens, mask, numSamples } = encoded(examples);
      const field = (of: string, values: Int32Array, shape: readonly number[]) => ({
        spec: { name: of, shape, dtype: 'int32' as const },
        data: values,
      });
      const labelled = tasks.map((task) =>
        field(
          task,
          Int32Array.from(examples, (one) => (one.task === task ? labels[task].indexOf(one.target) : -1)),
          [],
        ),
      );
      return data.arraySource(
        [field('tokens', tokens, [sourceLength]), field('mask', mask, [sourceLength]), ...labelled],
        { numSamples, batchSize, shuffle: true, seed },
      );
    },
    async answers(examples) {
      const predict = jit((tokens: tf.Tensor, mask: tf.Tensor, task: LabelledTask) => {
        const { weight, bias } = heads.find((head) => head.task === task)!;
        return tf.argMax(nn.dense(pooled({ tokens, mask }, false), weight, bias), -1);
      });
      const answers: string[] = [];
      try {
        for (let from = 0; from < examples.length; from += ROWS_AT_ONCE) {
          const part = examples.slice(from, from + ROWS_AT_ONCE);
          const { tokens, mask } = encoded(part);
          const shape: [number, number] = [part.length, sourceLength];
          const inputs = [tf.tensor2d(tokens, shape, 'int32'), tf.tensor2d(mask, shape, 'int32')] as const;
          const task = part[0]!.task as LabelledTask;
          const places = await predict(...inputs, task);
          answers.push(...Array.from(await places.data(), (place) => labels[task][place]!));
          tf.dispose([...inputs, places]);
        }
        return answers;
      } finally {
        predict.dispose();
      }
    },
    dispose: () => tf.dispose(variables),
  };
}
