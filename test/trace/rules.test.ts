/** Shape rules against tfjs's CPU kernels: every kernel call of generated ops and of their gradients. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureKernels } from '../../src/kernels/register.js';
import { plainAttrs } from '../../src/trace/attributes.js';
import { patch, patched } from '../../src/trace/patch.js';
import { type RuleInputs, toDType } from '../../src/trace/rules/rule.js';
import { DYNAMIC_SHAPE_KERNELS, RULES, UNSUPPORTED_KERNELS } from '../../src/trace/rules/table.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const covered = new Set<string>();

type Kernel = ReturnType<typeof tf.engine>['runKernel'];

/** Runs ops on the CPU backend; every kernel call's outputs must be what its rule says. */
function check(body: () => unknown): void {
  const engine = tf.engine();
  const checking = (run: Kernel): Kernel => {
    return (kernel, inputs, attrs) => {
      const result = run.call(engine, kernel, inputs, attrs);
      covered.add(kernel);
      const specs: RuleInputs = Object.fromEntries(
        Object.entries(inputs).flatMap(([name, tensor]) =>
          tensor == null ? [] : [[name, { shape: tensor.shape, dtype: toDType(tensor.dtype) }]],
        ),
      );
      const predicted = RULES.get(kernel)!(specs, plainAttrs(kernel, attrs));
      const brief = ({ shape, dtype }: { shape: readonly number[]; dtype: string }) => `${dtype}[${shape.join()}]`;
      const actual = Array.isArray(result) ? result.map(brief) : brief(result as tf.Tensor);
      const expected = 'shape' in predicted ? brief(predicted) : predicted.map(brief);
      expect([kernel, specs, attrs, expected]).toEqual([kernel, specs, attrs, actual]);
      return result as never;
    };
  };
  tf.tidy(() =>
    patched([() => patch(engine, 'runKernel', checking)], () => {
      body();
    }),
  );
}

/** The op and its gradient by the given tensors. */
function checkGradient(op: (...xs: tf.Tensor[]) => tf.Tensor, ...xs: tf.Tensor[]): void {
  check(() =>
    tf.grads((...args: tf.Tensor[]) =>
      op(...args)
        .toFloat()
        .sum(),
    )(xs),
  );
}

const dims = (minLength: number, maxLength: number) =>
  fc.array(fc.integer({ min: 1, max: 4 }), { minLength, maxLength });
const random = (shape: readonly number[]) => tf.randomUniform([...shape], 0.1, 0.9);

function property<T>(arbitrary: fc.Arbitrary<T>, body: (value: T) => void, numRuns = 20): void {
  fc.assert(fc.property(arbitrary, body), { numRuns });
}

// biome-ignore format: a table
const UNARY = [
  tf.abs, tf.acos, tf.acosh, tf.asin, tf.asinh, tf.atan, tf.atanh, tf.ceil, tf.cos, tf.cosh, tf.elu, tf.erf, tf.exp,
  tf.expm1, tf.floor, tf.leakyRelu, tf.log, tf.log1p, tf.logSigmoid, tf.neg, tf.onesLike, tf.reciprocal, tf.relu,
  tf.relu6, tf.round, tf.rsqrt, tf.selu, tf.sigmoid, tf.sign, tf.sin, tf.sinh, tf.softplus, tf.sqrt, tf.square,
  tf.step, tf.tan, tf.tanh, tf.zerosLike, tf.clone, tf.isNaN, tf.isInf, tf.isFinite, tf.softmax, tf.logSoftmax,
];

describe('shape rules', () => {
  it('elementwise', () => {
    property(dims(1, 3), (shape) => {
      for (const op of UNARY) check(() => (op as (x: tf.Tensor) => tf.Tensor)(random(shape)));
      checkGradient((x) => tf.clipByValue(x, 0.2, 0.5), random(shape));
      checkGradient((x) => tf.elu(x).add(tf.selu(x)).add(tf.leakyRelu(x)), random(shape));
      check(() => tf.addN([random(shape), random(shape)]));
      check(() => tf.where(random(shape).greater(0.5), random(shape), random(shape)));
      check(() => tf.cast(random(shape), 'int32').toBool().toFloat());
      check(() => tf.logicalNot(random(shape).greater(0.5)));
    });
  });

  it('binary ops broadcast', () => {
    const ops = [
      tf.add,
      tf.sub,
      tf.mul,
      tf.div,
      tf.pow,
      tf.maximum,
      tf.minimum,
      tf.squaredDifference,
      tf.mod,
      tf.atan2,
    ];
    const others = [tf.equal, tf.notEqual, tf.less, tf.lessEqual, tf.greater, tf.greaterEqual, tf.floorDiv];
    property(
      fc.tuple(dims(1, 3), fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }), fc.nat(3)),
      ([shape, ones, cut]) => {
        const small = shape.map((size, dim) => (ones[dim] ? 1 : size)).slice(Math.min(cut, shape.length));
        for (const op of ops) {
          check(() => op(random(shape), random(small)));
          // tfjs's gradients of these do not sum over broadcast dims.
          if (![tf.maximum, tf.minimum, tf.mod, tf.squaredDifference].includes(op) || small.join() === shape.join()) {
            checkGradient((a, b) => op(a!, b!), random(shape), random(small));
          }
        }
        for (const op of others) check(() => op(random(shape), random(small)));
        checkGradient((x, alpha) => tf.prelu(x!, alpha!), random(shape), random(shape.slice(1)));
        const bools = () => random(shape).greater(0.5);
        check(() => [tf.logicalAnd(bools(), bools()), tf.logicalOr(bools(), bools()), tf.logicalXor(bools(), bools())]);
        check(() => tf.bitwiseAnd(tf.ones(shape, 'int32'), tf.ones(shape, 'int32')));
      },
    );
  });

  it('reductions', () => {
    const ops = [tf.sum, tf.mean, tf.max, tf.min, tf.prod];
    property(fc.tuple(dims(1, 4), fc.array(fc.nat(3), { maxLength: 3 }), fc.boolean()), ([shape, picks, keep]) => {
      const axes = picks.length === 0 ? undefined : [...new Set(picks.map((pick) => pick % shape.length))];
      for (const op of ops) {
        if (op === tf.prod && (axes?.length ?? shape.length) < 1) continue;
        checkGradient((x) => op(x!, axes, keep), random(shape));
      }
      const bools = random(shape).greater(0.5);
      check(() => [tf.all(bools, axes, keep), tf.any(bools, axes, keep), tf.sum(bools, axes, keep)]);
      const axis = (picks[0] ?? 0) % shape.length;
      check(() => [tf.argMax(random(shape), axis), tf.argMin(random(shape), axis - shape.length)]);
      check(() => tf.cumsum(random(shape), axis, keep, !keep));
      // tfjs's gradient of cumsum transposes wrongly on any axis but the last.
      checkGradient((x) => tf.cumsum(x!, shape.length - 1, keep, !keep), random(shape));
      check(() => tf.cumprod(random(shape), axis));
    });
    check(() => tf.bincount(tf.tensor1d([1, 2, 2], 'int32'), tf.ones([3]), 4));
    check(() =>
      tf.denseBincount(
        tf.tensor2d(
          [
            [1, 2],
            [0, 1],
          ],
          [2, 2],
          'int32',
        ),
        tf.tensor2d([], [0, 0]),
        3,
      ),
    );
  });

  it('matrix products', () => {
    const sizes = fc.tuple(dims(1, 1), dims(3, 3), fc.boolean(), fc.boolean(), fc.boolean());
    property(sizes, ([[batch], [m, k, n], transposeA, transposeB, broadcast]) => {
      const a = random([broadcast ? 1 : batch!, ...(transposeA ? [k!, m!] : [m!, k!])]);
      const b = random([batch!, ...(transposeB ? [n!, k!] : [k!, n!])]);
      check(() => tf.matMul(a, b, transposeA, transposeB));
      if (!broadcast) checkGradient((x, y) => tf.matMul(x!, y!, transposeA, transposeB), a, b);
      check(() =>
        tf.fused.matMul({ a: random([m!, k!]), b: random([k!, n!]), bias: random([n!]), activation: 'relu' }),
      );
      check(() => tf.einsum('bij,bjk->bik', random([batch!, m!, k!]), random([batch!, k!, n!])));
      check(() => tf.einsum('ij->ji', random([m!, k!])));
      check(() => tf.einsum('i,i->', random([m!]), random([m!])));
    });
  });

  it('convolutions', () => {
    const cases = fc.record({
      size: fc.integer({ min: 4, max: 7 }),
      window: fc.integer({ min: 1, max: 3 }),
      stride: fc.integer({ min: 1, max: 2 }),
      pad: fc.constantFrom<'same' | 'valid' | number>('same', 'valid', 1),
      channels: fc.integer({ min: 1, max: 2 }),
    });
    property(
      cases,
      ({ size, window, stride, pad, channels }) => {
        const x = random([2, size, size + 1, channels]);
        const filter = random([window, window, channels, 3]);
        const rounding = typeof pad === 'number' ? 'floor' : undefined;
        const pair: [number, number] = [stride, stride];
        checkGradient(
          (a, b) => tf.conv2d(a as tf.Tensor4D, b as tf.Tensor4D, pair, pad, 'NHWC', 1, rounding),
          x,
          filter,
        );
        const depthwise = (a: tf.Tensor, b: tf.Tensor) =>
          tf.depthwiseConv2d(a as tf.Tensor4D, b as tf.Tensor4D, pair, pad, 'NHWC', 1, rounding);
        checkGradient((a, b) => depthwise(a!, b!), x, filter);
        check(() => tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, 1, 'same', 'NHWC', 2));
        check(() =>
          tf.fused.conv2d({
            x: x as tf.Tensor4D,
            filter: filter as tf.Tensor4D,
            strides: stride,
            pad: 'same',
            bias: random([3]),
            activation: 'relu',
          }),
        );
        check(() =>
          tf.fused.depthwiseConv2d({
            x: x as tf.Tensor4D,
            filter: filter as tf.Tensor4D,
            strides: 1,
            pad: 'same',
            activation: 'relu',
          }),
        );
        const outer: [number, number, number, number] = [2, size * stride, size * stride, channels];
        const transposed = random([2, size, size, 3]) as tf.Tensor4D;
        check(() => tf.conv2dTranspose(transposed, filter as tf.Tensor4D, outer, stride, 'same'));
      },
      12,
    );
    const volume = random([1, 4, 4, 4, 1]);
    const filter = random([2, 2, 2, 1, 2]);
    checkGradient((a, b) => tf.conv3d(a as tf.Tensor5D, b as tf.Tensor5D, 1, 'same'), volume, filter);
    const image = random([1, 5, 5, 2]);
    check(() => tf.dilation2d(image as tf.Tensor4D, random([2, 2, 2]) as tf.Tensor3D, 1, 'valid'));
    checkGradient((a, b) => tf.dilation2d(a as tf.Tensor4D, b as tf.Tensor3D, 1, 'same'), image, random([2, 2, 2]));
  });

  it('pooling', () => {
    const cases = fc.tuple(
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 2 }),
      fc.constantFrom('same', 'valid'),
    );
    property(
      cases,
      ([window, stride, padName]) => {
        const pad = padName as 'same' | 'valid';
        const x = random([2, 5, 6, 2]);
        checkGradient((a) => tf.maxPool(a as tf.Tensor4D, window, stride, pad), x);
        checkGradient((a) => tf.avgPool(a as tf.Tensor4D, window, stride, pad), x);
        const volume = random([1, 4, 4, 4, 1]);
        checkGradient((a) => tf.maxPool3d(a as tf.Tensor5D, window, stride, pad), volume);
        checkGradient((a) => tf.avgPool3d(a as tf.Tensor5D, window, stride, pad), volume);
      },
      8,
    );
    check(() => tf.maxPoolWithArgmax(random([1, 4, 4, 1]) as tf.Tensor4D, 2, 2, 'valid'));
  });

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

  it('normalisation and images', () => {
    const x = random([2, 4, 4, 3]);
    const channel = () => random([3]);
    checkGradient(
      (a, mean, variance) =>
        tf.batchNorm(
          a!,
          mean as tf.Tensor1D,
          variance as tf.Tensor1D,
          channel() as tf.Tensor1D,
          channel() as tf.Tensor1D,
        ),
      x,
      channel(),
      channel(),
    );
    checkGradient((a) => tf.localResponseNormalization(a as tf.Tensor4D), x);
    checkGradient((a) => tf.image.resizeBilinear(a as tf.Tensor4D, [3, 5]), x);
    checkGradient((a) => tf.image.resizeNearestNeighbor(a as tf.Tensor4D, [8, 8]), x);
    check(() => [tf.image.flipLeftRight(x as tf.Tensor4D), tf.image.rotateWithOffset(x as tf.Tensor4D, 0.5)]);
    const boxes = tf.tensor2d([[0, 0, 1, 1]]);
    check(() => tf.image.cropAndResize(x as tf.Tensor4D, boxes, tf.tensor1d([0], 'int32'), [2, 2]));
    check(() =>
      tf.image.transform(x as tf.Tensor4D, tf.tensor2d([[1, 0, 0, 0, 1, 0, 0, 0]]), 'nearest', 'constant', 0, [2, 3]),
    );
    check(() => tf.multinomial(tf.tensor2d([[0.5, 0.5]]), 4));
  });

  it("Merak's own kernels, against their reference composites", () => {
    const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap = {}) =>
      tf.engine().runKernel<tf.Tensor | tf.Tensor[]>(kernel, inputs, attrs);
    const placement = { node: 0, globalShape: [2, 3], offsets: [0, 0], batchDim: 0 };
    check(() => {
      const [q, k, v] = [random([2, 3, 2, 4]), random([2, 5, 2, 4]), random([2, 5, 2, 4])];
      const attrs = { causal: false, scale: 0.5 };
      const [out, logsumexp] = run('MerakAttention', { q, k, v }, attrs) as [tf.Tensor, tf.Tensor];
      run('MerakAttentionGrad', { dy: out, q, k, v, out, logsumexp }, attrs);
      const [x, gamma] = [random([2, 3, 4]), random([4])];
      const packed = { ...attrs, headShape: [1, 3, 2, 4] };
      const [qkv, sums] = [random([1, 3, 24]), random([1, 2, 3])];
      run('MerakPackedAttention', { qkv }, packed);
      run('MerakPackedAttentionGrad', { dy: random([1, 3, 8]), out: random([1, 3, 8]), logsumexp: sums, qkv }, packed);
      run('MerakColumnSum', { x: random([2, 3, 4]) });
      const [, mean, rstd] = run('MerakLayerNorm', { x, gamma, beta: gamma }, { epsilon: 1e-5 }) as tf.Tensor[];
      run('MerakLayerNormGrad', { dy: x, x, gamma, mean: mean!, rstd: rstd! });
      run('MerakGelu', { x }, { approximate: 'tanh' });
      run('MerakGeluGrad', { dy: x, x }, { approximate: 'none' });
      const [logits, labels, rows] = [random([3, 5]), tf.tensor1d([0, 4, -1], 'int32'), random([3])];
      const vocabulary = { vocabOffset: 0, vocabLimit: 5 };
      run('MerakSoftmaxCrossEntropy', { logits, labels }, vocabulary);
      run('MerakSoftmaxCrossEntropyGrad', { dy: rows, logits, labels, logsumexp: rows }, vocabulary);
      run('MerakShardedCrossEntropy', { logits, labels, max: rows }, vocabulary);
      const ids = tf.zeros([2, 3], 'int32');
      run('MerakEmbedding', { table: random([5, 4]), ids }, { vocabOffset: 0, sharded: false });
      run('MerakEmbeddingGrad', { dy: random([2, 3, 4]), ids }, { vocabSize: 5, vocabOffset: 0, sharded: false });
      run('MerakDropout', { x: random([2, 3]) }, { rate: 0.5, ...placement });
      run('MerakRandom', {}, { shape: [2, 3], kind: 'normal', a: 0, b: 1, ...placement });
      run('MerakShard', { x: random([2, 5]) }, { axis: 'tp', dim: 1, parts: 1, paddedSize: 6, degree: 2, index: 0 });
      const scattered = { axis: 'tp', dim: 1, parts: 3, paddedSize: 6, degree: 2, index: 1 };
      run('MerakReduceScatter', { x: random([2, 6]) }, scattered);
      run('MerakReduceScatterStart', { x: random([2, 6]) }, scattered);
      run('MerakAllReduceStart', { x: random([2, 5]) }, { axis: 'tp', op: 'sum' });
      run('MerakAllGatherStart', { x: random([2, 5]) }, { axis: 'tp', dim: 1, parts: 1, size: 5, degree: 1, index: 0 });
      run('MerakWait', { x: random([2, 5]), source: random([2, 5]) }, { axis: 'tp' });
    });
  });

  it('agree with tfjs for shapes as data', () => {
    check(() => {
      const inputs = { s0: tf.tensor1d([4, 1, 3], 'int32'), s1: tf.tensor1d([5, 1], 'int32') };
      tf.engine().runKernel('BroadcastArgs', inputs, {});
    });
  });

  it('exist for every kernel of tfjs-core, and are all tested here', () => {
    const names = Object.values(tf).filter((value) => typeof value === 'string');
    const kernels = tf.getKernelsForBackend('cpu').map(({ kernelName }) => kernelName);
    for (const kernel of kernels) {
      const known = RULES.has(kernel) || DYNAMIC_SHAPE_KERNELS.has(kernel) || UNSUPPORTED_KERNELS.has(kernel);
      expect([kernel, known]).toEqual([kernel, true]);
    }
    expect(names).toContain('BatchMatMul');
    // Collectives have no CPU kernel; tfjs-core composes the other ops from different kernels.
    const exempt = ['MerakAllReduce', 'MerakFanOut', 'MerakAllGather', 'MerakVocabParallelCrossEntropy'].concat([
      'LogicalXor',
      'LogSoftmax',
      'BroadcastTo',
      'MatrixBandPart',
      'LowerBound',
      'UpperBound',
    ]);
    const unreached = [...RULES.keys()].filter((kernel) => !covered.has(kernel) && !exempt.includes(kernel));
    expect(unreached).toEqual([]);
  });
});
