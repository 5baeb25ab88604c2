/** Every kernel the proxy backend knows, and those it refuses by name with the reason. */
import { convRules } from './conv.js';
import { elementwiseRules } from './elementwise.js';
import { gatherRules } from './gather.js';
import { imageRules } from './image.js';
import { matMulRules } from './matmul.js';
import { merakRules } from './merak.js';
import { movementRules } from './movement.js';
import { normalizeRules } from './normalize.js';
import { poolRules } from './pool.js';
import { reduceRules } from './reduce.js';
import type { Rules } from './rule.js';

export const RULES: ReadonlyMap<string, Rules[string]> = new Map(
  [
    elementwiseRules,
    reduceRules,
    matMulRules,
    convRules,
    poolRules,
    movementRules,
    gatherRules,
    normalizeRules,
    imageRules,
    merakRules,
  ].flatMap((rules) => Object.entries(rules)),
);

/** Kernels whose output shape depends on the data. */
export const DYNAMIC_SHAPE_KERNELS: ReadonlySet<string> = new Set([
  'NonMaxSuppressionV3',
  'NonMaxSuppressionV4',
  'NonMaxSuppressionV5',
  'RaggedGather',
  'RaggedRange',
  'RaggedTensorToTensor',
  'SparseFillEmptyRows',
  'SparseReshape',
  'SparseSegmentMean',
  'SparseSegmentSum',
  'Unique',
]);

/** Kernels of tfjs-core on complex numbers, strings or pixels: no tf.layers model or its training reaches them. */
export const UNSUPPORTED_KERNELS: ReadonlySet<string> = new Set([
  'Complex',
  'ComplexAbs',
  'Draw',
  'FFT',
  'FromPixels',
  'IFFT',
  'Imag',
  'Pool',
  'Real',
  'StaticRegexReplace',
  'StringNGrams',
  'StringSplit',
  'StringToHashBucketFast',
]);
