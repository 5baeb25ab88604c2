/** Reductions and scans. */
import type { Case, Operand } from '../finiteDifferences.js';

const x = (shape: readonly number[], low = -2, high = 2): Operand => ({ name: 'x', shape, low, high });

export const reductionCases: Case[] = [
  ...['Sum', 'Mean', 'Prod'].flatMap((kernel) =>
    [[0], [1], [2], [0, 2], [0, 1, 2], [1, 2]].map((axis) => ({
      kernel,
      operands: [x([2, 3, 2], 0.5, 1.6)],
      attrs: { axis, keepDims: false },
      title: `${kernel} [${axis}]`,
    })),
  ),
  { kernel: 'Sum', title: 'Sum keepDims', operands: [x([2, 3, 2])], attrs: { axis: [1], keepDims: true } },
  ...['Max', 'Min'].flatMap((kernel) =>
    [[0], [2], [0, 1, 2], [1, 2]].map((axes) => ({
      kernel,
      title: `${kernel} [${axes}]`,
      operands: [x([2, 3, 2])],
      attrs: kernel === 'Max' ? { reductionIndices: axes, keepDims: false } : { axis: axes, keepDims: false },
    })),
  ),
  ...[0, 1, 2].flatMap((axis) =>
    [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ].map(([exclusive = false, reverse = false]) => ({
      kernel: 'Cumsum',
      title: `Cumsum ${axis} ${exclusive} ${reverse}`,
      operands: [x([2, 3, 2])],
      attrs: { axis, exclusive, reverse },
    })),
  ),
  ...[0, 1].flatMap((axis) =>
    [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ].map(([exclusive = false, reverse = false]) => ({
      kernel: 'Cumprod',
      title: `Cumprod ${axis} ${exclusive} ${reverse}`,
      operands: [x([3, 2], 0.5, 1.6)],
      attrs: { axis, exclusive, reverse },
    })),
  ),
  { kernel: 'TopK', operands: [x([2, 5])], attrs: { k: 3, sorted: true } },
];
