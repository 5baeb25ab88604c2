/** Raising passes: each composite becomes its fused kernel, gives the same numbers, and look-alikes stay. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { tensor } from '../../kernels/numeric.js';
import { kernels, optimized } from './parity.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe('raiseLayerNorm', () => {
  it.each([[[4, 8]], [[2, 3, 8]], [[2, 3, 2, 5]], [[3, 1]]])('raises tf.layers.layerNormalization on %j', (shape) => {
    const layer = tf.layers.layerNormalization({ betaInitializer: 'ones', epsilon: 1e-3 });
    const x = tensor(shape);
    layer.apply(x);
    const [gamma, beta] = layer.getWeights();
    // The layer's weights are captured as parameters by the trace; here they must be constants to be replayed.
    const graph = optimized((y, g, b) => normalise(y!, g!, b!, 1e-3), [x, gamma!, beta!], 1e-4);
    expect(kernels(graph)).toEqual(['MerakLayerNorm']);
  });

  const byHand: Record<string, (x: tf.Tensor, g: tf.Tensor, b: tf.Tensor) => tf.Tensor> = {
    divided: (x, g, b) => {
      const { mean, variance } = tf.moments(x, -1, true);
      return x.sub(mean).div(variance.add(1e-5).sqrt()).mul(g).add(b);
    },
    multiplied: (x, g, b) => {
      const centered = x.sub(tf.mean(x, -1, true));
      const variance = tf.mean(centered.mul(centered), -1, true);
      return b.add(g.mul(tf.rsqrt(tf.add(1e-5, variance)).mul(centered)));
    },
  };
  it.each(Object.keys(byHand))('raises what is written by hand: %s', (form) => {
    const graph = optimized(
      (x, g, b) => byHand[form]!(x!, g!, b!),
      [tensor([2, 3, 8]), tensor([8], 2), tensor([8], 3)],
      1e-4,
    );
    expect(kernels(graph)).toEqual(['MerakLayerNorm']);
    expect(graph.nodes[0]!.attrs.epsilon).toBeCloseTo(1e-5, 9);
  });

  it('leaves a normalisation by another mean alone', () => {
    const f = (x: tf.Tensor, g: tf.Tensor, b: tf.Tensor) => {
      const { variance } = tf.moments(x, -1, true);
      return x
        .sub(tf.mean(x, 0, true))
        .div(variance.add(1e-5).sqrt())
        .mul(g)
        .add(b);
    };
    const graph = optimized((x, g, b) => f(x!, g!, b!), [tensor([3, 8]), tensor([8], 2), tensor([8], 3)]);
    expect(kernels(graph)).not.toContain('MerakLayerNorm');
  });

  it('leaves batch normalisation and other axes alone', () => {
    const x = tensor([4, 6]);
    const batch = (y: tf.Tensor) => {
      const { mean, variance } = tf.moments(y, 0);
      return tf.batchNorm(y as tf.Tensor2D, mean as tf.Tensor1D, variance as tf.Tensor1D);
    };
    expect(kernels(optimized((y) => batch(y!), [x]))).not.toContain('MerakLayerNorm');
  });
});

/** The composite of tf.layers' LayerNormalization, from tensors rather than weights. */
function normalise(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: number): tf.Tensor {
  const layer = tf.layers.layerNormalization({ epsilon });
  layer.build(x.shape);
  const weights = layer as unknown as { gamma: { read(): tf.Tensor }; beta: { read(): tf.Tensor } };
  weights.gamma.read = () => gamma;
  weights.beta.read = () => beta;
  return layer.apply(x) as tf.Tensor;
}

describe('raiseGelu', () => {
  const x = tf.mul(tensor([3, 5]), 3);
  const c = Math.sqrt(2 / Math.PI);
  const tanhForms: ((y: tf.Tensor) => tf.Tensor)[] = [
    (y) =>
      tf.mul(
        0.5,
        tf.mul(y, tf.add(1, tf.tanh(tf.mul(tf.sqrt(tf.div(2, Math.PI)), tf.add(y, tf.mul(0.044715, tf.pow(y, 3))))))),
      ),
    (y) => y.mul(0.5).mul(y.add(y.mul(y).mul(y).mul(0.044715)).mul(c).tanh().add(1)),
    (y) => y.mul(y.mul(c).mul(y.square().mul(0.044715).add(1)).tanh().add(1)).div(2),
  ];
  it.each([0, 1, 2])('raises the tanh form %i', (which) => {
    const graph = optimized((y) => tanhForms[which]!(y!), [x]);
    expect(kernels(graph)).toEqual(['MerakGelu']);
    expect(graph.nodes[0]!.attrs.approximate).toBe('tanh');
  });

  it('raises the erf form', () => {
    const graph = optimized((y) => tf.mul(y!, tf.mul(0.5, tf.add(1, tf.erf(tf.div(y!, Math.SQRT2))))), [x]);
    expect(kernels(graph)).toEqual(['MerakGelu']);
    expect(graph.nodes[0]!.attrs.approximate).toBe('none');
  });

  it('leaves other constants alone', () => {
    const graph = optimized((y) => tf.mul(y!, tf.mul(0.5, tf.add(1, tf.erf(tf.div(y!, 2))))), [x]);
    expect(kernels(graph)).not.toContain('MerakGelu');
  });
});

describe('raiseAttention', () => {
  const causalBias = (T: number) =>
    tf.tensor2d(
      Array.from({ length: T * T }, (_, i) => (i % T <= Math.floor(i / T) ? 0 : -1e9)),
      [T, T],
    );
  const visible = (T: number) =>
    tf.tensor2d(
      Array.from({ length: T * T }, (_, i) => (i % T <= Math.floor(i / T) ? 1 : 0)),
      [T, T],
    );

  const masks: Record<string, (scores: tf.Tensor, T: number) => tf.Tensor> = {
    none: (scores) => scores,
    additive: (scores, T) => tf.add(scores, causalBias(T)),
    selected: (scores, T) => tf.where(tf.cast(visible(T), 'bool'), scores, tf.scalar(-1e9)),
    inverted: (scores, T) => tf.where(tf.logicalNot(tf.cast(visible(T), 'bool')), tf.scalar(-1e9), scores),
    gated: (scores, T) => tf.sub(tf.mul(scores, visible(T)), tf.mul(1e10, tf.sub(1, visible(T)))),
    bandPart: (scores, T) =>
      tf.where(tf.cast(tf.linalg.bandPart(tf.ones([T, T]), -1, 0), 'bool'), scores, tf.fill(scores.shape, -1e9)),
  };

  it('raises heads by transposes, any mask, any sizes', () => {
    const cases = fc.record({
      mask: fc.constantFrom(...Object.keys(masks)),
      B: fc.integer({ min: 1, max: 2 }),
      T: fc.integer({ min: 2, max: 5 }),
      h: fc.integer({ min: 1, max: 3 }),
      d: fc.integer({ min: 1, max: 4 }),
      divided: fc.boolean(),
      keysTransposed: fc.boolean(),
    });
    fc.assert(
      fc.property(cases, ({ mask, B, T, h, d, divided, keysTransposed }) => {
        const xs = [1, 2, 3].map((seed) => tensor([B, T, h * d], seed));
        const heads = (x: tf.Tensor) => tf.transpose(tf.reshape(x, [B, T, h, d]), [0, 2, 1, 3]);
        const attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => {
          const product = keysTransposed
            ? tf.matMul(heads(q), tf.transpose(heads(k), [0, 1, 3, 2]))
            : tf.matMul(heads(q), heads(k), false, true);
          const scaled = divided ? tf.div(product, Math.sqrt(d)) : tf.mul(product, 1 / Math.sqrt(d));
          const weights = tf.softmax(masks[mask]!(scaled, T));
          return tf.reshape(tf.transpose(tf.matMul(weights, heads(v)), [0, 2, 1, 3]), [B, T, h * d]);
        };
        const graph = optimized((q, k, v) => attend(q!, k!, v!), xs);
        const attention = graph.nodes.find((node) => node.kernel === 'MerakAttention');
        expect(attention?.attrs.causal, mask).toBe(mask !== 'none');
        expect(attention?.attrs.scale).toBeCloseTo(1 / Math.sqrt(d), 5);
        expect(kernels(graph).filter((kernel) => !['Reshape', 'MerakAttention'].includes(kernel))).toEqual([]);
      }),
      { numRuns: 25 },
    );
  });

  it('raises a single head without a head dim', () => {
    const xs = [1, 2, 3].map((seed) => tensor([2, 4, 3], seed));
    const graph = optimized((q, k, v) => tf.matMul(tf.softmax(tf.matMul(q!, k!, false, true)), v!), xs);
    expect(kernels(graph).filter((kernel) => kernel !== 'Reshape')).toEqual(['MerakAttention']);
  });

  it('leaves other masks and shared weights alone', () => {
    const xs = [1, 2, 3].map((seed) => tensor([2, 4, 3], seed));
    const strange = tf.tensor2d([0, 0, -1e9, -1e9, ...new Array(12).fill(0)], [4, 4]);
    const graph = optimized(
      (q, k, v) => tf.matMul(tf.softmax(tf.add(tf.matMul(q!, k!, false, true), strange)), v!),
      xs,
    );
    expect(kernels(graph)).not.toContain('MerakAttention');
    const shared = optimized((q, k, v) => {
      const weights = tf.softmax(tf.matMul(q!, k!, false, true));
      return tf.add(tf.sum(weights), tf.matMul(weights, v!));
    }, xs);
    expect(kernels(shared)).not.toContain('MerakAttention');
  });
});

describe('raiseCrossEntropy', () => {
  const labels = tf.tensor1d([2, 0, 4, 1], 'int32');
  const logits = tf.mul(tensor([4, 5], 9), 4);
  const fused = (graph: { nodes: readonly { kernel: string }[] }) =>
    graph.nodes.filter((n) => n.kernel === 'MerakSoftmaxCrossEntropy').length;

  it('raises tf.losses.softmaxCrossEntropy on one-hot labels', () => {
    const graph = optimized((z, y) => tf.losses.softmaxCrossEntropy(tf.oneHot(y!, 5), z!), [logits, labels]);
    expect(fused(graph)).toBe(1);
    expect(kernels(graph)).not.toContain('OneHot');
    expect(kernels(graph)).not.toContain('Exp');
  });

  it('raises tf.logSoftmax', () => {
    const graph = optimized(
      (z, y) => tf.neg(tf.sum(tf.mul(tf.logSoftmax(z!), tf.cast(tf.oneHot(y!, 5), 'float32')), -1)),
      [logits, labels],
    );
    expect(kernels(graph)).toEqual(['MerakSoftmaxCrossEntropy']);
  });

  /** tf.layers' losses, as its source has them. */
  const layersLoss = (probabilities: tf.Tensor, y: tf.Tensor, numClasses: number) => {
    const clipped = tf.clipByValue(probabilities, 1e-7, 1 - 1e-7);
    const target = tf.reshape(tf.oneHot(tf.cast(tf.floor(tf.reshape(y, [-1])), 'int32'), numClasses), clipped.shape);
    const again = tf.clipByValue(tf.div(clipped, tf.sum(clipped, clipped.shape.length - 1, true)), 1e-7, 1 - 1e-7);
    return tf.neg(tf.sum(tf.mul(tf.cast(target, 'float32'), tf.log(again)), clipped.shape.length - 1));
  };

  it('raises sparse categorical cross-entropy on a softmax, keeping its clip', () => {
    const y = tf.tensor2d([2, 0, 4, 1], [4, 1]);
    const graph = optimized((z, t) => layersLoss(tf.softmax(z!), t!, 5), [logits, y]);
    expect(fused(graph)).toBe(1);
    const sure = tf.mul(logits, 20);
    expect(fused(optimized((z, t) => layersLoss(tf.softmax(z!), t!, 5), [sure, y]))).toBe(1);
    const sequence = optimized((z, t) => layersLoss(tf.softmax(tf.reshape(z!, [2, 2, 5])), t!, 5), [logits, y]);
    expect(fused(sequence)).toBe(1);
  });

  it('leaves soft labels and many classes alone', () => {
    const soft = tf.fill([4, 5], 0.2);
    expect(fused(optimized((z, y) => tf.losses.softmaxCrossEntropy(y!, z!), [logits, soft]))).toBe(0);
    const wide = tensor([4, 101], 3);
    expect(
      fused(optimized((z, y) => layersLoss(tf.softmax(z!), y!, 101), [wide, tf.tensor2d([2, 0, 4, 100], [4, 1])])),
    ).toBe(0);
  });
});
