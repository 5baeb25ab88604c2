/** One model trained and measured. */
import * as tf from '@tensorflow/tfjs';
import { data, models, nn, type ParallelModel } from '../../index.js';
import type { TrainerContext } from '../context.js';
import { type BestEpoch, fitBestEpoch, warmUpThenDecay } from '../selection/bestEpoch.js';
import type { Mode, MptsConfig } from './config.js';
import { bagEncoder, transformerEncoder, type VectorEncoder } from './encoder.js';
import { type Matcher, matcher } from './matchers.js';
import { type Scores, scoresOf, weighted } from './measure.js';
import { type EncodedPairs, encodePairs, type Prepared, tensorsOf } from './prepare.js';

export interface Trained {
  readonly mode: Mode;
  readonly seed: number;
  readonly fit: BestEpoch;
  /** On the test pairs, by perspective. */
  readonly scores: readonly Scores[];
  readonly numParameters: number;
}

const TABLE_STDDEV = 0.1;

export async function makeMatcher(
  config: MptsConfig,
  { tokenizer, idf, table }: Prepared,
  mode: Mode,
  seed: number,
): Promise<Matcher> {
  const { perspectives, temperature, joint } = config;
  const isPair = mode === 'cross' && joint === 'tokens';
  const encoder = await makeEncoder();
  return matcher(encoder, { mode, numPerspectives: perspectives.length, temperature, joint, seed });

  async function makeEncoder(): Promise<VectorEncoder> {
    const { hiddenSize, numHeads, numLayers, dropout, checkpoint } = config;
    const { vocabularySize } = tokenizer;
    if (config.encoder === 'bag') {
      const initializer = { kind: 'normal', mean: 0, stddev: TABLE_STDDEV } as const;
      const words = nn.variable('bag/tokens', [vocabularySize, hiddenSize], initializer, { seed });
      if (table !== undefined) words.assign(table);
      return bagEncoder(words, idf, dropout);
    }
    const contextLength = isPair ? config.jointLength : config.contextLength;
    const pooling = isPair ? config.crossPooling : config.pooling;
    if (checkpoint !== undefined) {
      const opened = await models.openHuggingFace(checkpoint, { dropout, contextLength, numLayers });
      // The heads of a BERT have no part in this.
      return transformerEncoder((opened as models.Bert).encoder, pooling);
    }
    const size = { vocabularySize, contextLength, numLayers, numHeads, hiddenSize, dropout, seed };
    const encoder = models.encoder({ ...size, name: mode });
    if (table !== undefined) encoder.parts.tokenTable.assign(table);
    return transformerEncoder(encoder, pooling);
  }
}

/** Leaves the weights in the model. */
export async function trainMatcher(
  context: TrainerContext<MptsConfig>,
  prepared: Prepared,
  model: Matcher,
  mode: Mode,
  seed: number,
): Promise<Trained> {
  const { config } = context;
  const name = `${mode}-${seed}`;
  const isPair = mode === 'cross' && config.joint === 'tokens';
  const encoded = (pairs: Prepared['train']) => encodePairs(pairs, prepared.tokenizer, config, isPair);
  const body = async () => {
    const { learningRate, weightDecay, epochs, batchSize, heldOut } = config;
    const source = sourceOf(encoded(prepared.train), batchSize, seed);
    const optimizer = tf.train.adam(learningRate);
    const parallel = await context.wrap(model, { optimizer, clipNorm: 1, weightDecay, seed });
    const { held } = prepared;
    const predictHeld = held === undefined ? undefined : predictor(parallel, encoded(held), batchSize);
    const predictTest = predictor(parallel, encoded(prepared.test), batchSize);
    const measure = async (logits: Float32Array, { labels }: Prepared['train']): Promise<Scores[]> =>
      scoresOf(logits, labels, config.perspectives.length);
    try {
      const fit = await fitBestEpoch(context, name, parallel, source, {
        epochs,
        learningRate: warmUpThenDecay(learningRate, epochs * source.numBatches!, 0.1),
        score:
          heldOut === 0 || predictHeld === undefined
            ? undefined
            : async () => weighted(await measure(await predictHeld.logits(), held!)).f1,
      });
      const scores = await measure(await predictTest.logits(), prepared.test);
      return { fit, scores };
    } finally {
      predictHeld?.dispose();
      predictTest.dispose();
      await parallel.close();
    }
  };
  const kept = await context.stage(name, body as () => Promise<never>, model.variables);
  const { fit, scores } = kept as { fit: BestEpoch; scores: Scores[] };
  const numParameters = model.variables.reduce((sum, variable) => sum + variable.size, 0);
  return { mode, seed, fit, scores, numParameters };
}

function sourceOf({ numSamples, fields }: EncodedPairs, batchSize: number, seed: number) {
  const specified = Object.entries(fields).map(([name, { data: values, width }]) => {
    const dtype = name === 'labels' ? ('float32' as const) : ('int32' as const);
    return { spec: { name, shape: [width], dtype }, data: values };
  });
  return data.arraySource(specified, { numSamples, batchSize, shuffle: true, seed });
}

function predictor(parallel: ParallelModel, pairs: EncodedPairs, batchSize: number) {
  const inputs = tensorsOf(pairs);
  return {
    async logits(): Promise<Float32Array> {
      const predicted = (await parallel.predict(inputs, { batchSize })) as tf.Tensor;
      const values = (await predicted.data()) as Float32Array;
      predicted.dispose();
      return values;
    },
    dispose: () => tf.dispose(inputs),
  };
}
