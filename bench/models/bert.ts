/** BERT-small (Turc et al. 2019): masked language modelling on Moby Dick's bytes, one token in seven masked. */
import * as merak from '../../src/index.js';
import { textBatch } from './gpt.js';
import { adam, noise, TRANSFORMER_CONVENTION, transformerFlops, type Workload } from './workload.js';

const size = { vocabularySize: 30522, contextLength: 128, numLayers: 4, numHeads: 8, hiddenSize: 512 };
const MASK = 103;

export const bertSmall: Workload = {
  name: 'bert',
  title: 'BERT-small: 4 layers, hidden 512, 8 heads, context 128, vocabulary 30522, batch 8',
  unit: 'tokens',
  unitsPerSample: size.contextLength,
  batchSize: 8,
  stepsPerRound: 2,
  fields: ['tokens', 'labels'].map((name) => ({ name, shape: [size.contextLength], dtype: 'int32' })),
  flopsConvention: TRANSFORMER_CONVENTION,
  build: () => ({ model: merak.models.bert({ ...size, seed: 1 }), optimizer: adam() }),
  flopsPerUnit: (model) => transformerFlops('variables' in model ? model.variables : [], size),
  batch(count, index) {
    const [tokens] = textBatch(count, index, size.contextLength);
    const isMasked = tokens.map((_, i) => (noise(index + 1, i) < 1 / 7 ? 1 : 0));
    return {
      size: count,
      fields: new Map([
        ['tokens', tokens.map((token, i) => (isMasked[i] === 1 ? MASK : token))],
        ['labels', tokens.map((token, i) => (isMasked[i] === 1 ? token : -1))],
      ]),
    };
  },
  torch: { model: 'bert', ...size },
};
