// The models that `npm run gpu` measures with, and what their training counts as.

/**
 * GPT-2's sizes at context 1024; the vocabulary is GPT-2's 50257 rounded up to 50304, for PyTorch and Merak alike. `batchSize` is that of
 * the speed section, `aloneSize` that of kernels timed alone, whose operands cross the bus. `rounds`: how often each engine is measured, in turn.
 */
export const SIZES = [
  { name: '124M', numLayers: 12, numHeads: 12, hiddenSize: 768, batchSize: 32, aloneSize: 8, rounds: 2 },
  { name: '1.5B', numLayers: 48, numHeads: 25, hiddenSize: 1600, batchSize: 16, aloneSize: 4, rounds: 1 },
  { name: '355M', numLayers: 24, numHeads: 16, hiddenSize: 1024, batchSize: 24, rounds: 1 },
  { name: '774M', numLayers: 36, numHeads: 20, hiddenSize: 1280, batchSize: 16, rounds: 1 },
].map((size) => ({ vocabularySize: 50304, contextLength: 1024, ...size }));

/** In the place of all of them on a dry run. */
export const DRY = {
  name: 'dry',
  numLayers: 2,
  numHeads: 2,
  hiddenSize: 32,
  batchSize: 2,
  aloneSize: 2,
  rounds: 1,
  vocabularySize: 300,
  contextLength: 32,
};

/** Dense bf16 of an H100 or H200 SXM by NVIDIA's datasheet, FLOP/s; what the marks are shares of. */
export const DATASHEET = 989e12;

/** What is to be reached: MFU by the datasheet, and tokens per second as a multiple of torch.compile's. */
export const MARKS = { '124M': { mfu: 0.4, ofCompile: 1 }, '1.5B': { mfu: 0.48 } };

/** Token and position tables, blocks (attention 4 H², feed-forward 8 H², biases and norms 13 H), the last norm; the head is tied. */
export function parametersOf({ vocabularySize, contextLength, numLayers, hiddenSize: h }) {
  return (vocabularySize + contextLength) * h + numLayers * (12 * h * h + 13 * h) + 2 * h;
}

/** Of training on one token: 6 N + 12 L H T, N all parameters, causal attention not halved. */
export const flopsPerToken = (size) =>
  6 * parametersOf(size) + 12 * size.numLayers * size.hiddenSize * size.contextLength;
