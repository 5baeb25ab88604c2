/** Normalisation. */
import type { Case, Operand } from '../finiteDifferences.js';

const x = (shape: readonly number[], low = -2, high = 2): Operand => ({ name: 'x', shape, low, high });

export const normalisationCases: Case[] = [
  { kernel: 'Softmax', operands: [{ name: 'logits', shape: [3, 4] }], attrs: { dim: -1 } },
  { kernel: 'LRN', operands: [x([1, 2, 2, 4])], attrs: { depthRadius: 1, bias: 1, alpha: 0.3, beta: 0.6 } },
  ...[[3], [1, 1, 1, 3], [2, 2, 1, 3]].map((shape) => ({
    kernel: 'FusedBatchNorm',
    title: `FusedBatchNorm with statistics of [${shape}]`,
    operands: [
      x([2, 2, 1, 3]),
      { name: 'mean', shape },
      { name: 'variance', shape, low: 0.4, high: 2 },
      { name: 'scale', shape },
      { name: 'offset', shape },
    ],
    attrs: { varianceEpsilon: 1e-3 },
  })),
  {
    kernel: 'FusedBatchNorm',
    title: 'FusedBatchNorm without scale',
    operands: [x([2, 2, 1, 3]), { name: 'mean', shape: [3] }, { name: 'variance', shape: [3], low: 0.4, high: 2 }],
    attrs: { varianceEpsilon: 1e-3 },
  },
];
