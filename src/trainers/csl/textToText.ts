/** The text-to-text model: an encoder-decoder over characters that writes titles, keywords and labels alike. */
import * as tf from '@tensorflow/tfjs';
import { type BatchSource, data, greedyDecode, models, type text } from '../../index.js';
import type { Arm, CslConfig } from './config.js';
import type { Example } from './data.js';
import type { CslModel } from './model.js';
import type { Prepared } from './prepare.js';

export function textToText(config: CslConfig, arm: Arm, { tokenizer }: Prepared, seed: number): CslModel {
  const { numLayers, hiddenSize, numHeads } = config;
  const { sourceLength, targetLength, dropout } = arm;
  const model = models.encoderDecoder({
    ...{ vocabularySize: tokenizer.vocabularySize, sourceLength, targetLength, hiddenSize, numHeads, dropout, seed },
    numEncoderLayers: numLayers,
    numDecoderLayers: numLayers,
    name: arm.name,
  });
  const [beginId, endId] = [tokenizer.idOf('[CLS]')!, tokenizer.idOf('[SEP]')!];
  const sourceOf = ({ prompt, source }: Example): string => (config.prompt ? `${prompt} ${source}` : source);
  return {
    model,
    variables: model.variables,
    source: (examples) => trainingRows(examples),
    async answers(examples) {
      const { tokens, mask } = tokenizer.batch(examples.map(sourceOf), sourceLength);
      const shape: [number, number] = [examples.length, sourceLength];
      const batch = { tokens: tf.tensor2d(tokens, shape, 'int32'), mask: tf.tensor2d(mask, shape, 'int32') };
      const decoded = await greedyDecode(model, batch, { beginId, endId });
      tf.dispose(batch);
      return decoded.map((ids) => tokenizer.decode(ids));
    },
    dispose: () => model.dispose(),
  };

  function trainingRows(examples: readonly Example[]): BatchSource {
    const source: text.EncodedBatch = tokenizer.batch(examples.map(sourceOf), sourceLength);
    const numSamples = examples.length;
    const targetTokens = new Int32Array(numSamples * targetLength).fill(tokenizer.padId);
    const labels = new Int32Array(numSamples * targetLength).fill(-1);
    for (const [row, { target }] of examples.entries()) {
      // As [CLS] target [SEP]: the decoder reads all but the last and writes all but the first.
      const ids = tokenizer.encode(target, targetLength + 1);
      targetTokens.set(ids.slice(0, -1), row * targetLength);
      labels.set(ids.slice(1), row * targetLength);
    }
    const field = (name: string, values: Int32Array, length: number) => ({
      spec: { name, shape: [length], dtype: 'int32' as const },
      data: values,
    });
    return data.arraySource(
      [
        field('tokens', source.tokens, sourceLength),
        field('mask', source.mask, sourceLength),
        field('targetTokens', targetTokens, targetLength),
        field('labels', labels, targetLength),
      ],
      { numSamples, batchSize: config.batchSize, shuffle: true, seed },
    );
  }
}
