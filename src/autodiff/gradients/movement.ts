/** Kernels that move data: unrolled, wrong or missing in tfjs. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import { input, number, numbers, only, range } from './access.js';
import { reshapeTo, sumTo } from './broadcast.js';
import type { Call, GradientRules } from './rule.js';

export const movementGradients: GradientRules = {
  // tfjs adds up one slice per repetition; a reshape to [reps, size] per dim and a sum over reps does it at once.
  Tile: (dys, call) => {
    const x = input(call, 'x');
    const repetitions = numbers(call.attrs, 'reps');
    return {
      x: () => {
        const repeated = range(x.rank).filter((dim) => (repetitions[dim] ?? 1) !== 1);
        if (repeated.length === 0) return reshapeTo(only(dys), x.shape);
        const shape: number[] = [];
        const axes: number[] = [];
        for (const dim of range(x.rank)) {
          if (repeated.includes(dim)) axes.push(shape.push(repetitions[dim] ?? 1) - 1);
          shape.push(x.shape[dim] ?? 1);
        }
        return reshapeTo(tf.sum(reshapeTo(only(dys), shape), axes), x.shape);
      },
    };
  },
  // tfjs sums size-1 dims with keepDims although the ranks may differ.
  BroadcastTo: (dys, call) => ({ x: () => sumTo(only(dys), input(call, 'x').shape) }),
  // tfjs slices the middle out and forgets what the mirrored borders contribute.
  MirrorPad: (dys, call) => {
    const x = input(call, 'x');
    return { x: () => foldMirrored(only(dys), x.shape, paddingsOf(call), call.attrs.mode === 'symmetric') };
  },
  // No gradient in tfjs.
  DepthToSpace: (dys, call) => {
    const x = input(call, 'x');
    const block = number(call.attrs, 'blockSize', 1);
    const [batch = 1, ...rest] = x.shape;
    const nchw = call.attrs.dataFormat === 'NCHW';
    const [height = 1, width = 1] = nchw ? rest.slice(1) : rest;
    const depth = ((nchw ? rest[0] : rest[2]) ?? 1) / (block * block);
    return {
      x: () => {
        const split = nchw ? [batch, depth, height, block, width, block] : [batch, height, block, width, block, depth];
        const order = nchw ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 2, 4, 5];
        return tf.reshape(tf.transpose(tf.reshape(only(dys), split), order), x.shape);
      },
    };
  },
  // No gradient in tfjs. New and shrunk axes only reshape; the rest is undone dim by dim.
  StridedSlice: (dys, call) => {
    const x = input(call, 'x');
    const info = tf.slice_util.sliceInfo(
      x.shape,
      numbers(call.attrs, 'begin'),
      numbers(call.attrs, 'end'),
      numbers(call.attrs, 'strides'),
      number(call.attrs, 'beginMask', 0),
      number(call.attrs, 'endMask', 0),
      number(call.attrs, 'ellipsisMask', 0),
      number(call.attrs, 'newAxisMask', 0),
      number(call.attrs, 'shrinkAxisMask', 0),
    );
    return { x: () => scatterSteps(only(dys), x.shape, info) };
  },
  // No gradient in tfjs.
  GatherNd: (dys, call) => {
    const params = input(call, 'params');
    const indices = input(call, 'indices');
    return { params: () => tf.scatterND(asInt(indices), only(dys), [...params.shape]) };
  },
  ScatterNd: (dys, call) => ({ updates: () => tf.gatherND(only(dys), asInt(input(call, 'indices'))) }),
};

function asInt(indices: tf.Tensor): tf.Tensor {
  return indices.dtype === 'int32' ? indices : tf.cast(indices, 'int32');
}

function paddingsOf(call: Call): [number, number][] {
  const { paddings } = call.attrs;
  if (!Array.isArray(paddings)) throw new MerakError('autodiff/no-gradient', 'MirrorPad without paddings');
  return paddings.map((pair: readonly number[]) => [pair[0] ?? 0, pair[1] ?? 0]);
}

/** Adds each mirrored border back onto the elements it copies, one dim after the other. */
function foldMirrored(
  dy: tf.Tensor,
  shape: readonly number[],
  paddings: readonly (readonly [number, number])[],
  symmetric: boolean,
): tf.Tensor {
  let folded = dy;
  paddings.forEach(([before, after], dim) => {
    const size = shape[dim] ?? 1;
    const edge = symmetric ? 0 : 1;
    let sum = slab(folded, dim, before, size);
    if (before > 0) {
      const border = tf.reverse(slab(folded, dim, 0, before), dim);
      sum = tf.add(sum, padDim(border, dim, edge, size - edge - before));
    }
    if (after > 0) {
      const border = tf.reverse(slab(folded, dim, before + size, after), dim);
      sum = tf.add(sum, padDim(border, dim, size - edge - after, edge));
    }
    folded = sum;
  });
  return folded;
}

function slab(x: tf.Tensor, dim: number, start: number, length: number): tf.Tensor {
  const begin = x.shape.map((_, other) => (other === dim ? start : 0));
  const size = x.shape.map((full, other) => (other === dim ? length : full));
  return tf.slice(x, begin, size);
}

function padDim(x: tf.Tensor, dim: number, before: number, after: number): tf.Tensor {
  return tf.pad(
    x,
    x.shape.map((_, other) => (other === dim ? [before, after] : [0, 0]) as [number, number]),
  );
}

/** Undoes a strided slice: spreads every dim by its stride with zeros between, then pads to where it began. */
function scatterSteps(
  dy: tf.Tensor,
  shape: readonly number[],
  info: ReturnType<typeof tf.slice_util.sliceInfo>,
): tf.Tensor {
  let spread = reshapeTo(
    dy,
    shape.map((_, dim) => numSteps(info, dim)),
  );
  shape.forEach((size, dim) => {
    const stride = info.strides[dim] ?? 1;
    const count = spread.shape[dim] ?? 0;
    const magnitude = Math.abs(stride);
    if (stride < 0) spread = tf.reverse(spread, dim);
    if (magnitude > 1) spread = dilateDim(spread, dim, magnitude);
    const first = info.begin[dim] ?? 0;
    const start = stride < 0 ? first - (count - 1) * magnitude : first;
    spread = padDim(spread, dim, start, size - start - (spread.shape[dim] ?? 0));
  });
  return spread;
}

function numSteps(info: ReturnType<typeof tf.slice_util.sliceInfo>, dim: number): number {
  return Math.ceil(((info.end[dim] ?? 0) - (info.begin[dim] ?? 0)) / (info.strides[dim] ?? 1));
}

/** Puts `step - 1` zeros between neighbours along `dim`: size n becomes (n - 1) step + 1. */
export function dilateDim(x: tf.Tensor, dim: number, step: number): tf.Tensor {
  const count = x.shape[dim] ?? 0;
  const columns = tf.reshape(x, [...x.shape.slice(0, dim + 1), 1, ...x.shape.slice(dim + 1)]);
  const padded = padDim(columns, dim + 1, 0, step - 1);
  const merged = tf.reshape(padded, [...x.shape.slice(0, dim), count * step, ...x.shape.slice(dim + 1)]);
  return slab(merged, dim, 0, (count - 1) * step + 1);
}

/** The transpose of `dilateDim`: every `step`-th element along `dim`, `count` of them. */
export function undilateDim(x: tf.Tensor, dim: number, step: number, count: number): tf.Tensor {
  const padded = padDim(x, dim, 0, step - 1);
  const columns = tf.reshape(padded, [...x.shape.slice(0, dim), count, step, ...x.shape.slice(dim + 1)]);
  return tf.reshape(slab(columns, dim + 1, 0, 1), [...x.shape.slice(0, dim), count, ...x.shape.slice(dim + 1)]);
}
