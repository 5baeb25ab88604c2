/** `merak train samp`: self-adaptive mixed-precision inference (SAMP) of a title classifier. */
import * as tf from '@tensorflow/tfjs';
import { data, quantiser, recommend } from '../../index.js';
import { defineTrainer } from '../trainer.js';
import { characterTokenizer, encode, PAD_ID, vocabularySize } from './characters.js';
import { classifier } from './classifier.js';
import { config } from './config.js';
import { accuracyOf, encodedTitles, fieldsOf, logitsOf, type Measured, measurePlans } from './measure.js';
import { modeName, picture } from './picture.js';
import { sampleTitles } from './sample.js';
import { readTitles } from './titles.js';

export const samp = defineTrainer({
  name: 'samp',
  paper: {
    title:
      'SAMP: A Model Inference Toolkit of Post-Training Quantization for Text Processing via Self-Adaptive Mixed-Precision',
    year: 2023,
    id: 'arXiv 2209.09130',
  },
  description: 'int8 inference layer by layer: measures every plan and recommends one',
  config,
  data: {
    howToGet:
      'the CSL benchmark (https://github.com/ydli-ai/CSL, Apache-2.0): benchmark/cls_ctg/{train,dev,test}.tsv as csl-benchmark/cls_ctg-{train,dev,test}.tsv',
    files: ({ train, dev, test }) => [train, dev, test],
    sample: sampleTitles,
  },

  async prepare({ config: { train, dev, test, contextLength }, data: folder }) {
    const files = { train: folder.path(train), dev: folder.path(dev), test: folder.path(test) };
    const titles = await readTitles(files);
    const tokenizer = characterTokenizer(titles.train.texts);
    const encoded = (part: typeof titles.train) =>
      encodedTitles(part, encode(tokenizer, part.texts, contextLength), contextLength);
    const { categories } = titles;
    return {
      categories,
      tokenizer,
      train: encoded(titles.train),
      dev: encoded(titles.dev),
      test: encoded(titles.test),
    };
  },

  async run(context, { categories, tokenizer, train, dev }) {
    const { config: options, seed } = context;
    const { numLayers, hiddenSize, numHeads, contextLength, dropout, batchSize, epochs, learningRate } = options;
    const model = classifier({
      vocabularySize: vocabularySize(tokenizer),
      numClasses: categories.length,
      ...{ numLayers, hiddenSize, numHeads, contextLength, dropout, seed },
    });
    const parallel = await context.wrap(model, {
      optimizer: tf.train.adam(learningRate),
      clipNorm: 1,
      weightDecay: 0.01,
    });
    const labels = tf.tensor1d(train.labels, 'int32');
    const source = await data.tensorSource({ tokens: train.tokens, mask: train.mask, labels }, { batchSize, seed });
    labels.dispose();
    const steps = epochs * source.numBatches!;
    const rise = Math.ceil(steps / 10);
    let losses: readonly number[] = [];
    if (options.checkpoint === undefined) {
      ({ losses } = await context.fit('train', parallel, source, {
        epochs,
        learningRate: (step) => learningRate * Math.min((step + 1) / rise, (steps - step) / (steps - rise + 1)),
      }));
    } else {
      await parallel.restore(options.checkpoint);
      // No step is taken: the weights come back into the model's variables.
      await parallel.fitDataset(source, { stopWhen: () => true, verbose: 0 });
    }
    const rows = tf.tidy(() => {
      const size: [number, number] = [Math.min(options.calibrationRows, train.labels.length), contextLength];
      return { tokens: tf.slice(train.tokens, [0, 0], size), mask: tf.slice(train.mask, [0, 0], size) };
    });
    const quantisation = await quantiser(model, fieldsOf(dev), { batchSize, threads: options.threads });
    await quantisation.calibrate(rows, { calibrator: options.calibrator, percentile: options.percentile });
    tf.dispose(rows);
    const measured = await context.stage('measure', () => measurePlans(quantisation, dev, options));
    return { model, losses, quantisation, measured };
  },

  async evaluate({ config: options, output }, { losses, quantisation, measured }, { test }) {
    const { minMetric, maxLatency, decayThreshold, weightGranularity: granularity } = options;
    const seconds = maxLatency === undefined ? undefined : maxLatency / 1000;
    const recommended = recommend(measured, { minMetric, maxLatency: seconds, decayThreshold }) as Measured;
    const [float] = measured as [Measured];
    await output.table('plans', {
      title: 'Plans: float, then the number of int8 layers by mode',
      columns: ['mode', 'int8 layers', 'dev accuracy', 'KL from float', 'ms per batch', 'speed-up', 'weight bytes', ''],
      rows: measured.map((one) => [
        one.numLayers === 0 ? 'float' : modeName(one.mode),
        one.numLayers,
        one.metric,
        one.divergence.toExponential(2),
        (one.latencySeconds * 1000).toFixed(2),
        (float.latencySeconds / one.latencySeconds).toFixed(2),
        one.bytes,
        one === recommended ? 'recommended' : '',
      ]),
      notes: [
        `A batch is ${options.batchSize} titles of ${options.contextLength} characters on ${options.threads} engine thread(s), this machine's ` +
          `native engine; the median of ${options.latencyRounds} runs, those of all plans interleaved.`,
      ],
    });
    await output.table('layers', {
      title: 'Products by layer, as the graph has them',
      columns: ['layer', 'attention (full)', 'feed-forward (full, ffn)', 'recommended'],
      rows: quantisation.layers.map(({ attention, feedForward }, layer) => [
        layer,
        attention.join(' '),
        feedForward.join(' '),
        recommended.layerModes[layer] ?? 'float',
      ]),
    });
    await output.plot('plans', picture(measured, recommended));
    const accuracies: number[] = [];
    for (const { layerModes } of [float, recommended]) {
      const model = await quantisation.build(layerModes, { granularity });
      accuracies.push(accuracyOf(await logitsOf(model, test), test.labels));
      model.close();
    }
    return {
      ...(losses.length === 0 ? {} : { loss: losses.at(-1)! }),
      floatDevAccuracy: float.metric,
      recommendedDevAccuracy: recommended.metric,
      floatTestAccuracy: accuracies[0]!,
      recommendedTestAccuracy: accuracies[1]!,
      recommendedLayers: recommended.numLayers,
      recommendedFully: Number(recommended.mode === 'full' && recommended.numLayers > 0),
      recommendedDivergence: recommended.divergence,
      speedUp: float.latencySeconds / recommended.latencySeconds,
      bytesRatio: recommended.bytes / float.bytes,
    };
  },

  async export({ config: options, output }, { model, quantisation, measured }, { categories, tokenizer }) {
    const { minMetric, maxLatency, decayThreshold, weightGranularity: granularity } = options;
    const seconds = maxLatency === undefined ? undefined : maxLatency / 1000;
    const { layerModes } = recommend(measured, { minMetric, maxLatency: seconds, decayThreshold }) as Measured;
    const quick = await quantisation.build(layerModes, { granularity });
    await quick.save(await output.path('quantised'), {
      tokenizer,
      text: { field: 'tokens', maskField: 'mask', padId: PAD_ID },
      labels: { names: [...categories] },
    });
    quick.close();
    tf.dispose([...model.variables]);
  },
});
