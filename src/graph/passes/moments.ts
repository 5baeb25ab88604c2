/** Recognising the mean and the variance over the last dim as tf.moments computes them. */
import type { Node, ValueId } from '../graph.js';
import { type GraphView, inputOf, reducesLastDim, sameShape } from './view.js';

/** The Mean node over the last dim behind a value, seen through reshapes. */
export function meanBehind(view: GraphView, id: ValueId): Node | undefined {
  const mean = view.producer(throughReshapes(view, id), 'Mean');
  return mean !== undefined && reducesLastDim(view, mean) ? mean : undefined;
}

/** What `mean` averages, when `variance` averages (x - mean)^2 of the same x over the last dim. */
export function momentsOf(view: GraphView, mean: Node, variance: Node): ValueId | undefined {
  const x = throughCasts(view, mean.inputs[0]!);
  const squared = variance.inputs[0]!;
  return sameShape(view.value(squared).shape, view.value(x).shape) && isSquaredDeviation(view, squared, x, mean)
    ? x
    : undefined;
}

function isSquaredDeviation(view: GraphView, id: ValueId, x: ValueId, mean: Node): boolean {
  const square = view.producer(throughCasts(view, id), 'Square', 'SquaredDifference', 'Multiply', 'Pow');
  if (square === undefined) return false;
  if (square.kernel === 'SquaredDifference') {
    return isDeviation(view, inputOf(square, 'a')!, inputOf(square, 'b')!, x, mean);
  }
  const [first, second = first] = square.inputs;
  if (square.kernel === 'Pow') {
    const exponent = view.constant(second!);
    if (exponent?.length !== 1 || exponent[0] !== 2) return false;
  } else if (first !== second) return false;
  return isCentered(view, first!, x, mean);
}

/** Whether a value is x - mean. */
export function isCentered(view: GraphView, id: ValueId, x: ValueId, mean: Node): boolean {
  const difference = view.producer(throughCasts(view, id), 'Sub');
  return difference !== undefined && isDeviation(view, inputOf(difference, 'a')!, inputOf(difference, 'b')!, x, mean);
}

function isDeviation(view: GraphView, a: ValueId, b: ValueId, x: ValueId, mean: Node): boolean {
  const keepsDim = sameShape(view.value(b).shape, [...view.value(x).shape.slice(0, -1), 1]);
  return keepsDim && throughCasts(view, a) === x && throughReshapes(view, b) === mean.outputs[0];
}

export function throughReshapes(view: GraphView, id: ValueId): ValueId {
  const reshape = view.producer(id, 'Reshape', 'Identity');
  return reshape === undefined ? id : throughReshapes(view, inputOf(reshape, 'x')!);
}

/** Sees through casts that change nothing. */
export function throughCasts(view: GraphView, id: ValueId): ValueId {
  const cast = view.producer(id, 'Cast', 'Identity');
  const same = cast !== undefined && view.value(inputOf(cast, 'x')!).dtype === view.value(id).dtype;
  return same ? throughCasts(view, inputOf(cast, 'x')!) : id;
}
