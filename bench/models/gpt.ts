/** GPTs: the 10 M one of examples/gpt at context 256, and GPT-2 small's shape. */
import { loadMobyDick } from '../../examples/gpt/text.js';
import * as merak from '../../src/index.js';
import { adam, TRANSFORMER_CONVENTION, transformerFlops, type Workload } from './workload.js';

type Size = Pick<merak.models.GptConfig, 'vocabularySize' | 'contextLength' | 'numLayers' | 'numHeads' | 'hiddenSize'>;

let text: Uint8Array | undefined;

/** `size` windows of Moby Dick; every byte is a token of any vocabulary of 256 or more. */
export function textBatch(size: number, index: number, contextLength: number): [Int32Array, Int32Array] {
  text ??= loadMobyDick().train;
  const [tokens, targets] = [new Int32Array(size * contextLength), new Int32Array(size * contextLength)];
  for (let sample = 0; sample < size; sample++) {
    const start = ((index * size + sample) * 7919 * 13) % (text.length - contextLength - 1);
    tokens.set(text.subarray(start, start + contextLength), sample * contextLength);
    targets.set(text.subarray(start + 1, start + 1 + contextLength), sample * contextLength);
  }
  return [tokens, targets];
}

function gptWorkload(name: string, title: string, batchSize: number, stepsPerRound: number, size: Size): Workload {
  const { contextLength } = size;
  return {
    name,
    title,
    unit: 'tokens',
    unitsPerSample: contextLength,
    batchSize,
    stepsPerRound,
    fields: ['tokens', 'targets'].map((field) => ({ name: field, shape: [contextLength], dtype: 'int32' })),
    flopsConvention: TRANSFORMER_CONVENTION,
    build: () => ({ model: merak.models.gpt({ ...size, seed: 1 }), optimizer: adam() }),
    flopsPerUnit: (model) => transformerFlops('variables' in model ? model.variables : [], size),
    batch(count, index) {
      const [tokens, targets] = textBatch(count, index, contextLength);
      return {
        size: count,
        fields: new Map([
          ['tokens', tokens],
          ['targets', targets],
        ]),
      };
    },
    torch: { model: 'gpt', ...size },
  };
}

export const gpt10m: Workload = {
  hasMarks: true,
  ...gptWorkload('gpt10m', 'GPT 10 M: 6 layers, hidden 384, 6 heads, context 256, vocabulary 256, batch 8', 8, 2, {
    vocabularySize: 256,
    contextLength: 256,
    numLayers: 6,
    numHeads: 6,
    hiddenSize: 384,
  }),
};

export const gpt124m = gptWorkload(
  'gpt124m',
  'GPT 124 M: 12 layers, hidden 768, 12 heads, context 512, vocabulary 50257, batch 1',
  1,
  1,
  { vocabularySize: 50257, contextLength: 512, numLayers: 12, numHeads: 12, hiddenSize: 768 },
);
