/**
 * A training recipe of one's own: a linear autoencoder of handwritten digits, for several widths of its bottleneck.
 *
 *   npx merak trainers autoencoder --plugin examples/trainers/autoencoder.ts
 *   npx merak train autoencoder --plugin examples/trainers/autoencoder.ts --set epochs=5 --dp 2
 */
import * as tf from '@tensorflow/tfjs';
import * as merak from 'merak';
import { z } from 'zod';
import { loadDigits } from '../layers/digits.js';

const NUM_PIXELS = 28 * 28;
const count = z.number().int().min(1);

export default merak.defineTrainer({
  name: 'autoencoder',
  paper: {
    title: 'Neural networks and principal component analysis',
    year: 1989,
    id: 'doi:10.1016/0893-6080(89)90014-2',
  },
  description: 'digits through a narrow linear layer and back',
  config: z.strictObject({
    widths: z
      .array(count)
      .default([4, 16, 64])
      .meta({ description: 'numbers a digit is squeezed into, one model each' }),
    epochs: count.default(3).meta({ description: 'passes over the digits', unit: 'epochs' }),
    batchSize: count.default(64).meta({ description: 'digits of a step', unit: 'samples' }),
    learningRate: z.number().positive().default(3e-3).meta({ description: 'of Adam' }),
  }),

  async prepare({ config: { batchSize }, seed }) {
    const { trainX, testX } = loadDigits();
    const source = async (images: tf.Tensor, shuffle: boolean) => {
      const spec = { name: 'pixels', shape: [NUM_PIXELS], dtype: 'float32' } as const;
      const numSamples = images.shape[0]!;
      const pixels = { spec, data: await images.data<'float32'>() };
      return merak.data.arraySource([pixels], { numSamples, batchSize, shuffle, seed });
    };
    return { training: await source(trainX, true), test: await source(testX, false) };
  },

  async run(context, { training, test }) {
    const { widths, epochs, learningRate } = context.config;
    const errors: number[] = [];
    for (const width of widths) {
      const glorot = { kind: 'normal', mean: 0, stddev: Math.sqrt(2 / (NUM_PIXELS + width)) } as const;
      const encode = merak.nn.variable(`encode${width}`, [NUM_PIXELS, width], glorot, { seed: context.seed });
      const decode = merak.nn.variable(`decode${width}`, [width, NUM_PIXELS], glorot, { seed: context.seed });
      // A width that is done is not trained again when the run is resumed; one that is half done goes on.
      const error = await context.stage(`width-${width}`, async () => {
        const loss = ({ pixels }: merak.Batch) =>
          pixels!
            .sub(tf.matMul(tf.matMul(pixels as tf.Tensor2D, encode as tf.Tensor2D), decode as tf.Tensor2D))
            .square()
            .mean();
        const parallel = await context.wrap(loss, { optimizer: tf.train.adam(learningRate) });
        await context.fit(`train-${width}`, parallel, training, { epochs });
        return ((await parallel.evaluateDataset(test)) as tf.Scalar).dataSync()[0]!;
      }, [encode, decode]);
      context.log.info(`width ${width}: mean squared error ${error.toFixed(5)}`);
      errors.push(error);
    }
    return errors;
  },

  async evaluate({ config: { widths }, output }, errors) {
    const rows = widths.map((width, i) => [width, errors[i]!] as const);
    await output.table('errors', { title: 'Reconstruction of test digits', columns: ['width', 'squared error'], rows });
    await output.plot(
      'errors',
      merak.charts.lines({
        title: 'Reconstruction',
        x: 'width',
        y: 'mean squared error',
        logX: true,
        points: true,
        series: [{ name: 'test digits', x: widths, y: errors }],
      }),
    );
    return Object.fromEntries(widths.map((width, i) => [`error-${width}`, errors[i]!]));
  },
});
