/** Every rule, by any legal assignment drawn at random: outputs and gradients are those of the undivided graph. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Graph } from '../../src/graph/graph.js';
import { checkLayouts } from '../../src/tensorparallel/check.js';
import { KERNELS_WITH_RULES } from '../../src/tensorparallel/rules/registry.js';
import { strategiesOf } from '../../src/tensorparallel/strategies.js';
import { type Body, trace, weight } from './graphs.js';
import { expectParity, ids, numbers, size, withLoss } from './parity.js';
import { randomAssignment, randomFrom } from './randomAssignment.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

function call(kernel: string, inputs: tf.NamedTensorMap, attrs: Record<string, unknown> = {}): tf.Tensor[] {
  const result = tf.engine().runKernel<tf.Tensor | tf.Tensor[]>(kernel, inputs, attrs as tf.NamedAttrMap);
  return Array.isArray(result) ? result : [result];
}

const MODELS: Record<string, Body> = {
  'matrix products': (r, b) => {
    const x = r.input('x', [b, 3, 4], 'float32');
    const w = weight(r, 'w', [4, 12]);
    const y = tf.relu(tf.add(tf.matMul(tf.reshape(x, [-1, 4]), w), weight(r, 'bias', [12])));
    const z = tf.add(tf.matMul(y, weight(r, 'w2', [6, 12]), false, true), weight(r, 'bias2', [6]));
    const t = tf.matMul(weight(r, 'u', [4, 6]), weight(r, 'v', [12, 4]), true, true);
    return { z: tf.tanh(z), t: tf.mul(t, weight(r, 's', [1, 12])) };
  },
  'batched products': (r, b) => {
    const x = r.input('x', [b, 4, 4], 'float32');
    const w = weight(r, 'w', [4, 4, 4]);
    const heads = tf.matMul(tf.expandDims(x, 1).tile([1, 4, 1, 1]), w.reshape([1, 4, 4, 4]).tile([b, 1, 1, 1]));
    const scores = tf.softmax(tf.matMul(heads, heads, false, true));
    return { y: tf.matMul(scores, heads).transpose([0, 2, 1, 3]).reshape([b, 4, 16]), m: heads.mean([1, 3]) };
  },
  einsum: (r, b) => {
    const x = r.input('x', [b, 4, 6], 'float32');
    const y = tf.einsum('btc,chd->bthd', x, weight(r, 'w', [6, 4, 2]));
    return { y, z: tf.einsum('bthd,hd->bt', y, weight(r, 'v', [4, 2])) };
  },
  'splits and joins': (r, b) => {
    const x = tf.matMul(r.input('x', [b, 4], 'float32'), weight(r, 'w', [4, 24]));
    const [q, k, v] = tf.split(x, 3, 1) as [tf.Tensor, tf.Tensor, tf.Tensor];
    const [s, l] = tf.split(tf.tanh(v), [4, 4], 1) as [tf.Tensor, tf.Tensor];
    const sliced = tf.slice(x, [0, 8], [b, 16]);
    const joined = tf.concat([tf.mul(q, k), s, l], 1);
    const stacked = tf.stack([q, k, v], 1);
    const [first, second] = tf.unstack(stacked.reshape([b, 3, 2, 4]), 2) as [tf.Tensor, tf.Tensor];
    const strided = tf.stridedSlice(stacked, [0, 0, 0], [b, 3, 8], [1, 2, 1]);
    return { joined, sliced: tf.sigmoid(sliced), y: tf.add(first, second), strided };
  },
  'dims moved': (r, b) => {
    const x = tf.matMul(r.input('x', [b, 4], 'float32'), weight(r, 'w', [4, 8]));
    const y = tf.reverse(
      tf.pad(x.reshape([b, 2, 4]), [
        [0, 0],
        [1, 0],
        [0, 0],
      ]),
      1,
    );
    const mirrored = tf.mirrorPad(
      x.reshape([b, 4, 2]),
      [
        [0, 0],
        [1, 1],
        [0, 0],
      ],
      'reflect',
    );
    const ones = tf.fill([b, 8], 0.5);
    return {
      y: tf.transpose(y, [2, 1, 0]),
      c: tf.cumsum(x.reshape([b, 2, 4]), 1),
      m: mirrored,
      f: tf.mul(ones, x),
      t: tf.tile(tf.expandDims(x, 1), [1, 2, 3]),
    };
  },
  reductions: (r, b) => {
    const x = tf.matMul(r.input('x', [b, 4], 'float32'), weight(r, 'w', [4, 16])).reshape([b, 4, 4]);
    return {
      sum: tf.sum(x, 2),
      mean: tf.mean(x, -1, true),
      all: tf.mean(x),
      max: tf.max(x, 1),
      rows: tf.logSoftmax(x),
      columns: tf.min(x, 2),
    };
  },
  elementwise: (r, b) => {
    const x = tf.matMul(r.input('x', [b, 4], 'float32'), weight(r, 'w', [4, 12]));
    const s = weight(r, 's', [12]);
    const clipped = tf.clipByValue(tf.mul(x, s), -0.5, 0.7);
    const chosen = tf.where(tf.greater(x, tf.scalar(0)), x, tf.mul(s, tf.scalar(0.5)).broadcastTo([b, 12]));
    const quotient = tf.div(tf.sub(x, s), tf.add(tf.square(s), tf.scalar(1)));
    const [g] = call('MerakGelu', { x: quotient }, { approximate: 'tanh' });
    return {
      y: tf.addN([clipped, chosen, tf.neg(quotient)]),
      p: tf.prelu(x, s),
      g: tf.mul(tf.exp(tf.minimum(x, s)), g!),
      e: tf.squaredDifference(tf.softplus(x), tf.elu(x)),
    };
  },
  'more elementwise': (r, b) => {
    const x = tf.matMul(r.input('x', [b, 4], 'float32'), weight(r, 'w', [4, 12]));
    const y = tf.addN([tf.relu6(x), tf.selu(x), tf.leakyRelu(x, 0.1), tf.sin(x), tf.erf(x)]);
    const z = tf.pow(tf.add(tf.abs(x), tf.scalar(1)), tf.maximum(weight(r, 's', [12]), tf.scalar(0.1)));
    return { y, z: tf.log(z), a: tf.atan(x) };
  },
  convolutions: (r, b) => {
    const x = r.input('x', [b, 5, 5, 2], 'float32') as tf.Tensor4D;
    const y = tf.relu(tf.conv2d(x, weight(r, 'f', [3, 3, 2, 4]) as tf.Tensor4D, 1, 'same'));
    const d = tf.depthwiseConv2d(y, weight(r, 'd', [2, 2, 4, 2]) as tf.Tensor4D, 1, 'valid');
    const n = tf.batchNorm(
      d,
      r.parameter('mean', [8], 'float32', { trainable: false }) as tf.Tensor1D,
      tf.square(weight(r, 'var', [8])) as tf.Tensor1D,
      weight(r, 'offset', [8]) as tf.Tensor1D,
      weight(r, 'scale', [8]) as tf.Tensor1D,
      0.5,
    );
    const t = tf.conv2dTranspose(n, weight(r, 't', [2, 2, 4, 8]) as tf.Tensor4D, [b, 8, 8, 4], 2, 'same');
    const pooled = tf.avgPool(t, 2, 2, 'valid');
    return { m: tf.maxPool(pooled, 2, 2, 'valid'), up: tf.image.resizeBilinear(d, [5, 3]), pooled };
  },
  lookups: (r, b) => {
    const tokens = r.input('tokens', [b, 4], 'int32');
    const table = weight(r, 'table', [8, 4]);
    const [embedded] = call('MerakEmbedding', { table, ids: tokens }, { vocabOffset: 0, sharded: false });
    const gathered = tf.gather(weight(r, 'other', [8, 4]), tokens);
    const columns = tf.gather(weight(r, 'wide', [4, 8]), tokens, 1);
    const hot = tf.matMul(tf.oneHot(tokens, 8).toFloat().reshape([-1, 8]), weight(r, 'third', [8, 4]));
    return { y: tf.add(embedded!, gathered), z: tf.tanh(tf.add(embedded!, hot.reshape([b, 4, 4]))), columns };
  },
  'fused kernels': (r, b) => {
    const x = r.input('x', [b, 3, 8], 'float32');
    const project = (name: string): tf.Tensor =>
      tf.matMul(x.reshape([-1, 8]), weight(r, name, [8, 8])).reshape([b, 3, 4, 2]);
    const mask = r.input('mask', [b, 3], 'int32');
    const inputs = { q: project('q'), k: project('k'), v: project('v'), mask };
    const [out] = call('MerakAttention', inputs, { causal: true, scale: 0.7 });
    const attrs = { rate: 0.25, node: 3, globalShape: [b, 3, 4, 2], offsets: [0, 0, 0, 0], batchDim: 0 };
    const [dropped] = call('MerakDropout', { x: out! }, attrs);
    const [noise] = call(
      'MerakRandom',
      {},
      { shape: [4, 2], kind: 'normal', a: 0, b: 1, node: 5, globalShape: [4, 2], offsets: [0, 0], batchDim: -1 },
    );
    const norm = { x: tf.mul(dropped!, noise!), gamma: weight(r, 'gamma', [2]), beta: weight(r, 'beta', [2]) };
    const [y] = call('MerakLayerNorm', norm, { epsilon: 0.1 });
    return { y: y!, dropped: dropped! };
  },
  'cross-entropy over an odd vocabulary': (r, b) => {
    const labels = r.input('labels', [b * 3], 'int32');
    const tokens = r.input('tokens', [b * 3], 'int32');
    const table = weight(r, 'table', [7, 4]);
    const [x] = call('MerakEmbedding', { table, ids: tokens }, { vocabOffset: 0, sharded: false });
    const logits = tf.add(tf.matMul(tf.tanh(x!), table, false, true), weight(r, 'bias', [7]));
    const [loss] = call('MerakSoftmaxCrossEntropy', { logits, labels }, { vocabOffset: 0, vocabLimit: 7 });
    return { mean: tf.mean(loss!), rows: loss!, logits };
  },
};

/** Element by element like those above, by the same rule, or a sibling in one dim more. */
const LIKE_OTHERS: ReadonlySet<string> = new Set(
  (
    'ZerosLike Real Acos Acosh Asin Asinh Atanh Ceil Cos Cosh Expm1 Floor IsFinite IsInf IsNan Log1p LogicalNot OnesLike ' +
    'Reciprocal Round Rsqrt Sign Sinh Sqrt Step Tan Atan2 EluGrad Equal FloorDiv GreaterEqual Less LessEqual LogicalAnd ' +
    'BroadcastTo LogicalOr LogicalXor Mod NotEqual BitwiseAnd MerakGeluGrad Cumprod Prod All Any ArgMax ArgMin ' +
    'LogSoftmax Conv3D Conv3DBackpropInputV2 MaxPool3D AvgPool3D ResizeNearestNeighbor'
  ).split(' '),
);

const BATCH = 2;

function feedOf(graph: Graph): Record<string, tf.Tensor> {
  return Object.fromEntries(
    graph.inputs.map(({ name, value }, i) => {
      const { shape, dtype } = graph.values[value]!;
      const length = size(shape);
      if (name === 'mask') return [name, tf.ones([...shape], 'int32')];
      if (name === 'labels')
        return [
          name,
          tf.tensor(
            ids(length, 7, i).map((id, at) => (at === 1 ? -1 : id)),
            [...shape],
            'int32',
          ),
        ];
      return [
        name,
        dtype === 'int32'
          ? tf.tensor(ids(length, 7, i), [...shape], dtype)
          : tf.tensor(numbers(length, 1, i + 5), [...shape]),
      ];
    }),
  );
}

describe('any legal assignment computes what the graph does', () => {
  for (const [name, body] of Object.entries(MODELS)) {
    it(name, () => {
      const graph = withLoss(trace(body, BATCH));
      const feed = feedOf(graph);
      for (let seed = 0; seed < 6; seed++) {
        const assignment = randomAssignment(graph, seed % 3 === 2 ? 4 : 2, randomFrom(seed));
        checkLayouts(graph, assignment);
        expectParity(graph, assignment, feed, undefined, 1e-4);
      }
    });
  }
});

describe('the models of this file', () => {
  it('shard most kernels that have a rule', () => {
    const sharded = new Set<string>();
    for (const body of Object.values(MODELS)) {
      const graph = trace(body, BATCH);
      strategiesOf(graph, 2, new Map()).forEach((strategies, index) => {
        if (strategies.some(({ divided }) => divided)) sharded.add(graph.nodes[index]!.kernel);
      });
    }
    const missing = KERNELS_WITH_RULES.filter((kernel) => !sharded.has(kernel) && !LIKE_OTHERS.has(kernel));
    expect(missing).toEqual([]);
  });
});
