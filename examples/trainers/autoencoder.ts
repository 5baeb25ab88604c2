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
  paper: { title: 'Neural networks and principal component analysis', id: 'doi:10.1016/0893-6080(89)90014-2' },
  description: 'digits through a narrow linear layer and back',
  config: z.strictObject({
    widths: z.array(count).default([4, 16, 64]).meta({ description: 'numbers a digit becomes, one model each' }),
    epochs: count.default(3).meta({ description: 'passes over the digits', unit: 'epochs' }),
    batchSize: count.default(64).meta({ description: 'digits of a step', unit: 'samples' }),
    learningRate: z.number().positive().default(3e-3).meta({ description: 'of Adam' }),
  }),

  async prepare({ config: { batchSize }, seed }) {
    const { trainX, testX } = loadDigits();
    const [pixels, test] = [trainX, testX].map((images) => images.reshape([-1, NUM_PIXELS]));
    return { training: await merak.data.tensorSource({ pixels: pixels! }, { batchSize, seed }), test: test! };
  },

  async run(context, { training, test }) {
    const { config, seed } = context;
    const errors: number[] = [];
    for (const width of config.widths) {
      const normal = { kind: 'normal', mean: 0, stddev: Math.sqrt(2 / (NUM_PIXELS + width)) } as const;
      const encode = merak.nn.variable(`encode${width}`, [NUM_PIXELS, width], normal, { seed });
      const decode = merak.nn.variable(`decode${width}`, [width, NUM_PIXELS], normal, { seed });
      const loss = ({ pixels }: merak.Batch) =>
        tf.losses.meanSquaredError(pixels!, merak.nn.dense(merak.nn.dense(pixels!, encode), decode));
      // A width that is done is not trained again when the run is resumed; one that is half done goes on.
      const train = async () => {
        const parallel = await context.wrap(loss, { optimizer: tf.train.adam(config.learningRate) });
        await context.fit(`train-${width}`, parallel, training, { epochs: config.epochs });
        return ((await parallel.evaluate({ pixels: test })) as tf.Scalar).dataSync()[0]!;
      };
      errors.push(await context.stage(`width-${width}`, train, [encode, decode]));
      context.log.info(`width ${width}: mean squared error ${errors.at(-1)!.toFixed(5)}`);
    }
    return errors;
  },

  async evaluate({ config: { widths }, output }, errors) {
    const title = 'Mean squared error of test digits';
    await output.table('errors', { title, columns: ['width', 'error'], rows: widths.map((w, i) => [w, errors[i]!]) });
    const series = [{ name: 'test digits', x: widths, y: errors }];
    await output.plot(
      'errors',
      merak.charts.lines({ title, x: 'width', y: 'error', logX: true, points: true, series }),
    );
    return Object.fromEntries(widths.map((width, i) => [`error-${width}`, errors[i]!]));
  },
});
