/** Ops that move elements: reshapes, slices, gathers, scatters. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { it } from 'vitest';
import { check, checkGradient, dims, property, random } from './harness.js';

export function movementRules(): void {
  it('movement', () => {
    property(fc.tuple(dims(2, 4), fc.nat(3), fc.nat(3)), ([shape, pick, count]) => {
      const axis = pick % shape.length;
      const x = random(shape);
      checkGradient((a) => a!.reshape([-1]), x);
      check(() => [tf.expandDims(x, axis), tf.expandDims(x, -1), x.squeeze()]);
      checkGradient((a) => tf.transpose(a!), x);
      checkGradient(
        (a) =>
          tf.tile(
            a!,
            shape.map((_, dim) => (dim === axis ? 2 : 1)),
          ),
        x,
      );
      check(() => tf.broadcastTo(x, [2, ...shape]));
      checkGradient((a) => tf.concat([a!, a!], axis), x);
      checkGradient((a) => tf.stack([a!, a!], axis), x);
      check(() => tf.unstack(x, axis));
      // tfjs's gradient of unstack fails on a single slice.
      if (shape[axis]! > 1) checkGradient((a) => tf.addN(tf.unstack(a!, axis)), x);
      checkGradient((a) => tf.split(tf.concat([a!, a!], axis), 2, axis)[0]!, x);
      check(() => tf.split(tf.concat([x, x, x], axis), [shape[axis]!, -1], axis));
      checkGradient(
        (a) =>
          tf.slice(
            a!,
            shape.map((_, dim) => (dim === axis ? count % shape[axis]! : 0)),
          ),
        x,
      );
      check(() =>
        tf.stridedSlice(
          x,
          shape.map(() => 0),
          shape,
          shape.map(() => 2),
        ),
      );
      check(() => tf.stridedSlice(x, [0], [1], [1], 0, 0, 0, 0, 1));
      checkGradient(
        (a) =>
          tf.pad(
            a!,
            shape.map(() => [count, 1] as [number, number]),
          ),
        x,
      );
      check(() =>
        tf.mirrorPad(
          x,
          shape.map(() => [1, 0] as [number, number]),
          'symmetric',
        ),
      );
      check(() => tf.reverse(x, axis));
      check(() => tf.linalg.bandPart(x, 0, 0));
    });
    check(() => tf.diag(random([3])));
    checkGradient(
      (a) =>
        tf.spaceToBatchND(
          a!,
          [2, 2],
          [
            [0, 0],
            [1, 1],
          ],
        ),
      random([1, 4, 4, 1]),
    );
    checkGradient(
      (a) =>
        tf.batchToSpaceND(
          a!,
          [2, 2],
          [
            [0, 0],
            [1, 0],
          ],
        ),
      random([4, 2, 2, 1]),
    );
    check(() => tf.depthToSpace(random([1, 2, 2, 8]) as tf.Tensor4D, 2));
  });

  it('gathers, scatters and makers', () => {
    property(fc.tuple(dims(2, 3), fc.nat(2), dims(1, 2)), ([shape, pick, indexShape]) => {
      const axis = pick % shape.length;
      const indices = tf.zeros(indexShape, 'int32');
      checkGradient((x) => tf.gather(x!, indices, axis), random(shape));
      check(() => tf.oneHot(indices, 3));
      check(() => tf.topk(random(shape), 1));
      check(() => tf.unsortedSegmentSum(random(shape), tf.zeros([shape[0]!], 'int32') as tf.Tensor1D, 2));
    });
    check(() => tf.gather(random([2, 3, 4]), tf.zeros([2, 2], 'int32'), 1, 1));
    check(() => tf.gatherND(random([2, 3, 4]), tf.zeros([5, 2], 'int32')));
    check(() => tf.scatterND(tf.tensor2d([[0], [2]], [2, 1], 'int32'), random([2, 3]), [4, 3]));
    check(() => tf.tensorScatterUpdate(random([4, 3]), tf.tensor2d([[0], [2]], [2, 1], 'int32'), random([2, 3])));
    check(() => tf.sparseToDense(tf.tensor1d([0, 2], 'int32'), tf.tensor1d([1, 2]), [4], tf.scalar(0)));
    check(() => [
      tf.lowerBound(tf.tensor1d([1, 2, 3]), tf.tensor1d([2])),
      tf.upperBound(tf.tensor1d([1, 2]), tf.tensor1d([2])),
    ]);
    check(() => [tf.fill([2, 3], 4), tf.linspace(0, 1, 5), tf.range(0, 7, 2), tf.range(5, 0, -2, 'int32')]);
  });
}
