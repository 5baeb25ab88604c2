/** Recognising causal masks in constants. */
import type { ValueId } from '../graph.js';
import type { Evaluator } from './evaluate.js';
import { type GraphView, inputOf } from './view.js';

/** A score this low gives weight 0 in float32, next to any score a model has. */
export const DROPPED_SCORE = -1e4;

/** Largest mask looked at: 2048 x 2048. */
const MAX_MASK_SIZE = 2 ** 22;

/** The numbers of a constant [.., numQueries, numKeys] value, broadcasts along leading dims undone. */
export function maskNumbers(
  view: GraphView,
  constants: Evaluator,
  id: ValueId,
  numQueries: number,
  numKeys: number,
): ArrayLike<number> | undefined {
  const shape = view.value(id).shape;
  if (shape.at(-1) !== numKeys || shape.at(-2) !== numQueries) return undefined;
  // A mask tiled over batch and heads: look at what was tiled.
  const tile = view.producer(id, 'Tile', 'BroadcastTo');
  const narrow = tile && maskNumbers(view, constants, inputOf(tile, 'x')!, numQueries, numKeys);
  return narrow ?? constants.dataOf(id, MAX_MASK_SIZE);
}

/**
 * Whether a mask lets every query see exactly the keys up to its own position (the last query up to the last key).
 * `isVisible` and `isDropped` judge one number; a number that is neither makes the mask another one.
 */
export function isCausal(
  numbers: ArrayLike<number>,
  numQueries: number,
  numKeys: number,
  isVisible: (value: number) => boolean,
  isDropped: (value: number) => boolean,
): boolean {
  const first = numKeys - numQueries;
  if (first < 0) return false;
  for (let i = 0; i < numbers.length; i++) {
    const query = Math.floor(i / numKeys) % numQueries;
    const judge = i % numKeys <= query + first ? isVisible : isDropped;
    if (!judge(numbers[i]!)) return false;
  }
  return true;
}
