/** A program's value as the cost functions of graphs see it. */
import type { Value } from '../graph/graph.js';
import type { ProgramValue } from './plan.js';

export function asGraphValue({ shape, dtype }: ProgramValue): Value {
  if (dtype === 'bfloat16' || dtype === 'float16') return { shape, dtype: 'float32', storedAs: dtype, batchDim: -1 };
  if (dtype === 'int8') return { shape, dtype: 'int32', storedAs: 'int8', batchDim: -1 };
  return { shape, dtype, batchDim: -1 };
}
