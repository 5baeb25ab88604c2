/** Derivatives of stages against tfjs's own gradients on the CPU backend. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { differentiate } from '../../src/autodiff/differentiate.js';
import { splitWeightGradients } from '../../src/autodiff/splitWeightGradients.js';
import { MerakError } from '../../src/errors.js';
import type { DType, Graph, ValueId } from '../../src/graph/graph.js';
import { ensureKernels } from '../../src/kernels/register.js';
import type { Stage } from '../../src/partitioner/stage.js';
import { record } from '../../src/trace/record.js';
import { evaluate } from './evaluate.js';
import { spread } from './finiteDifferences.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

interface Named {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype?: DType;
}
type Tensors = Readonly<Record<string, tf.Tensor>>;

function stageOf(graph: Graph): Stage {
  return { stage: 0, graph, parameterOf: graph.parameters.map((_, index) => index) };
}

function get(tensors: Tensors, name: string): tf.Tensor {
  const tensor = tensors[name];
  if (tensor === undefined) throw new Error(`no ${name}`);
  return tensor;
}

function graphOf(
  inputs: readonly Named[],
  parameters: readonly Named[],
  body: (x: Tensors, p: Tensors) => Tensors,
): Graph {
  return record((recorder) => {
    const x = Object.fromEntries(
      inputs.map(({ name, shape, dtype }) => [name, recorder.input(name, shape, dtype ?? 'float32')]),
    );
    const p = Object.fromEntries(
      parameters.map(({ name, shape }) => [name, recorder.parameter(name, shape, 'float32', { trainable: true })]),
    );
    return { outputs: Object.entries(body(x, p)) };
  });
}

function tensorsOf(list: readonly Named[], seed: number): Tensors {
  return Object.fromEntries(
    list.map(({ name, shape, dtype }, index) => {
      const size = shape.reduce((a, b) => a * b, 1);
      const data =
        dtype === 'int32'
          ? Int32Array.from({ length: size }, (_, i) => (i * 7 + seed) % 3)
          : spread(size, -1, 1, seed + index);
      return [name, tf.tensor(data, [...shape], dtype ?? 'float32')];
    }),
  );
}

function bind(graph: Graph, x: Tensors, p: Tensors): Map<ValueId, tf.Tensor> {
  return new Map([
    ...graph.inputs.map(({ name, value }): [ValueId, tf.Tensor] => [value, get(x, name)]),
    ...graph.parameters.map(({ name, value }): [ValueId, tf.Tensor] => [value, get(p, name)]),
  ]);
}

function expectClose(actual: tf.Tensor | undefined, expected: tf.Tensor, tolerance = 1e-5): void {
  expect(actual?.shape).toEqual(expected.shape);
  const [a, b] = [actual?.dataSync() ?? [], expected.dataSync()];
  const scale = Math.max(1e-3, ...Array.from(b, Math.abs));
  for (let i = 0; i < b.length; i++)
    expect(Math.abs((a[i] ?? Number.NaN) - (b[i] ?? 0)) / scale).toBeLessThan(tolerance);
}

/** Compares all parameter gradients with tf.grads of the same body. */
function check(
  inputs: readonly Named[],
  parameters: readonly Named[],
  body: (x: Tensors, p: Tensors) => Tensors,
): Graph {
  const graph = graphOf(inputs, parameters, body);
  const derivative = differentiate(stageOf(graph));
  tf.tidy(() => {
    const [x, p] = [tensorsOf(inputs, 1), tensorsOf(parameters, 11)];
    const values = evaluate(derivative.graph, bind(derivative.graph, x, p));
    const names = parameters.map(({ name }) => name);
    const expected = tf.grads((...list: tf.Tensor[]) =>
      get(body(x, Object.fromEntries(names.map((name, index) => [name, list[index] as tf.Tensor]))), 'loss'),
    )(names.map((name) => get(p, name)));
    derivative.graph.parameters.forEach(({ name }, index) => {
      const gradient = derivative.parameterGradients[index];
      expectClose(
        gradient === null || gradient === undefined ? undefined : values.get(gradient),
        expected[names.indexOf(name)] as tf.Tensor,
      );
    });
  });
  return derivative.graph;
}

describe('differentiate', () => {
  it('a dense network', () => {
    const graph = check(
      [
        { name: 'x', shape: [4, 3] },
        { name: 'y', shape: [4, 2] },
      ],
      [
        { name: 'w', shape: [3, 5] },
        { name: 'b', shape: [5] },
        { name: 'v', shape: [5, 2] },
      ],
      (x, p) => {
        const hidden = tf.tanh(tf.add(tf.matMul(get(x, 'x'), get(p, 'w')), get(p, 'b')));
        const out = tf.matMul(hidden, get(p, 'v'));
        return { loss: tf.mean(tf.square(tf.sub(out, get(x, 'y')))) };
      },
    );
    expect(graph.nodes.every(({ kernel }) => kernel !== 'Identity' && kernel !== 'ZerosLike')).toBe(true);
  });

  it('a convolutional network with pooling and batch statistics', () => {
    check(
      [{ name: 'x', shape: [2, 6, 6, 1] }],
      [
        { name: 'f', shape: [3, 3, 1, 2] },
        { name: 'scale', shape: [2] },
        { name: 'offset', shape: [2] },
        { name: 'w', shape: [18, 3] },
      ],
      (x, p) => {
        const y = tf.conv2d(get(x, 'x') as tf.Tensor4D, get(p, 'f') as tf.Tensor4D, 1, 'same');
        const { mean, variance } = tf.moments(y, [0, 1, 2]);
        const z = tf.batchNorm(
          y,
          mean as tf.Tensor1D,
          variance as tf.Tensor1D,
          get(p, 'offset') as tf.Tensor1D,
          get(p, 'scale') as tf.Tensor1D,
        );
        const pooled = tf.maxPool(tf.relu(z) as tf.Tensor4D, 2, 2, 'valid');
        return { loss: tf.mean(tf.logSumExp(tf.matMul(tf.reshape(pooled, [2, 18]), get(p, 'w')), 1)) };
      },
    );
  });

  it('an unrolled recurrent network: parameters used at every step, split gates', () => {
    check(
      [{ name: 'x', shape: [2, 3, 4] }],
      [
        { name: 'w', shape: [4, 12] },
        { name: 'u', shape: [3, 12] },
      ],
      (x, p) => {
        let h: tf.Tensor = tf.zeros([2, 3]);
        let c: tf.Tensor = tf.zeros([2, 3]);
        for (const step of tf.unstack(get(x, 'x'), 1)) {
          const [i, f, o, g] = tf.split(tf.add(tf.matMul(step, get(p, 'w')), tf.matMul(h, get(p, 'u'))), 4, 1) as [
            tf.Tensor,
            tf.Tensor,
            tf.Tensor,
            tf.Tensor,
          ];
          c = tf.add(tf.mul(tf.sigmoid(f), c), tf.mul(tf.sigmoid(i), tf.tanh(g)));
          h = tf.mul(tf.sigmoid(o), tf.tanh(c));
        }
        return { loss: tf.sum(tf.square(h)) };
      },
    );
  });

  it('the merak kernels: embedding, attention, layer norm, gelu, cross-entropy', () => {
    check(
      [
        { name: 'ids', shape: [2, 4], dtype: 'int32' },
        { name: 'labels', shape: [8], dtype: 'int32' },
      ],
      [
        { name: 'table', shape: [5, 8] },
        { name: 'gamma', shape: [8] },
        { name: 'beta', shape: [8] },
        { name: 'w', shape: [8, 24] },
      ],
      (x, p) => {
        const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap): tf.Tensor[] => {
          const result: tf.Tensor | tf.Tensor[] = tf.engine().runKernel(kernel, inputs, attrs);
          return Array.isArray(result) ? result : [result];
        };
        const first = (list: readonly tf.Tensor[]) => list[0] as tf.Tensor;
        const table = get(p, 'table');
        const embedded = first(
          run('MerakEmbedding', { table, ids: get(x, 'ids') }, { vocabOffset: 0, sharded: false }),
        );
        const normed = first(
          run('MerakLayerNorm', { x: embedded, gamma: get(p, 'gamma'), beta: get(p, 'beta') }, { epsilon: 1e-5 }),
        );
        const qkv = tf.matMul(tf.reshape(normed, [8, 8]), get(p, 'w'));
        const [q, k, v] = tf.split(tf.reshape(qkv, [2, 4, 6, 4]), 3, 2) as [tf.Tensor, tf.Tensor, tf.Tensor];
        const attended = first(run('MerakAttention', { q, k, v }, { causal: true, scale: 0.5 }));
        const mixed = first(
          run('MerakGelu', { x: tf.add(embedded, tf.reshape(attended, [2, 4, 8])) }, { approximate: 'tanh' }),
        );
        const logits = tf.matMul(tf.reshape(mixed, [8, 8]), table, false, true);
        const losses = first(
          run('MerakSoftmaxCrossEntropy', { logits, labels: get(x, 'labels') }, { vocabOffset: 0, vocabLimit: 5 }),
        );
        return { loss: tf.mean(losses) };
      },
    );
  });

  it('keeps the forward part as it is and leaves out what needs no gradient', () => {
    const graph = graphOf(
      [
        { name: 'x', shape: [2, 3] },
        { name: 'received/0', shape: [2, 3] },
        { name: 'received/1', shape: [2], dtype: 'int32' },
      ],
      [{ name: 'w', shape: [3] }],
      (x, p) => ({ loss: tf.sum(tf.mul(tf.mul(get(x, 'x'), get(x, 'received/0')), get(p, 'w'))) }),
    );
    const derivative = differentiate(stageOf(graph));
    expect(derivative.numForwardNodes).toBe(graph.nodes.length);
    expect(derivative.graph.nodes.slice(0, graph.nodes.length)).toEqual(graph.nodes);
    expect(derivative.graph.values.slice(0, graph.values.length)).toEqual(graph.values);
    expect(derivative.receivedGradients[0]).not.toBeNull();
    expect(derivative.receivedGradients[1]).toBeNull();
    const frozen = differentiate(stageOf(graph), { trainable: () => false, wanted: [false, false] });
    expect(frozen.parameterGradients).toEqual([null]);
    expect(frozen.graph.nodes.length).toBe(graph.nodes.length);
  });

  it('adds the gradients that arrive for several outputs, passed-through values included', () => {
    const graph = graphOf([{ name: 'received/0', shape: [2, 3] }], [{ name: 'w', shape: [3] }], (x, p) => {
      const y = tf.mul(get(x, 'received/0'), get(p, 'w'));
      return { 'sent/0': y, 'sent/1': get(x, 'received/0'), 'sent/2': tf.argMax(y, 1) };
    });
    const derivative = differentiate(stageOf(graph));
    expect(derivative.graph.inputs.map(({ name }) => name)).toEqual([
      'received/0',
      'gradient/sent/0',
      'gradient/sent/1',
    ]);
    expect(derivative.outputGradients[2]).toBeNull();
    tf.tidy(() => {
      const [x, p] = [
        { ...tensorsOf([{ name: 'received/0', shape: [2, 3] }], 3) },
        tensorsOf([{ name: 'w', shape: [3] }], 4),
      ];
      const dy = tensorsOf(
        [
          { name: 'gradient/sent/0', shape: [2, 3] },
          { name: 'gradient/sent/1', shape: [2, 3] },
        ],
        5,
      );
      const values = evaluate(derivative.graph, bind(derivative.graph, { ...x, ...dy }, p));
      const dx = tf.add(tf.mul(get(dy, 'gradient/sent/0'), get(p, 'w')), get(dy, 'gradient/sent/1'));
      expectClose(values.get(derivative.receivedGradients[0] ?? -1), dx);
      expectClose(
        values.get(derivative.parameterGradients[0] ?? -1),
        tf.sum(tf.mul(get(dy, 'gradient/sent/0'), get(x, 'received/0')), 0),
      );
    });
  });

  it('two stages chained give the gradients of the whole', () => {
    const [first, second] = [
      graphOf([{ name: 'x', shape: [4, 3] }], [{ name: 'w', shape: [3, 3] }], (x, p) => ({
        'sent/0': tf.sigmoid(tf.matMul(get(x, 'x'), get(p, 'w'))),
      })),
      graphOf([{ name: 'received/0', shape: [4, 3] }], [{ name: 'v', shape: [3, 2] }], (x, p) => ({
        loss: tf.mean(tf.square(tf.matMul(get(x, 'received/0'), get(p, 'v')))),
      })),
    ];
    const [back, front] = [differentiate(stageOf(second)), differentiate(stageOf(first))];
    tf.tidy(() => {
      const x = tensorsOf([{ name: 'x', shape: [4, 3] }], 1);
      const p = { ...tensorsOf([{ name: 'w', shape: [3, 3] }], 2), ...tensorsOf([{ name: 'v', shape: [3, 2] }], 3) };
      const sent = evaluate(first, bind(first, x, p)).get(first.outputs[0]?.value ?? -1) as tf.Tensor;
      const later = evaluate(back.graph, bind(back.graph, { 'received/0': sent }, p));
      const arriving = later.get(back.receivedGradients[0] ?? -1) as tf.Tensor;
      const earlier = evaluate(front.graph, bind(front.graph, { ...x, 'gradient/sent/0': arriving }, p));
      const expected = tf.grads((w: tf.Tensor, v: tf.Tensor) =>
        tf.mean(tf.square(tf.matMul(tf.sigmoid(tf.matMul(get(x, 'x'), w)), v))),
      )([get(p, 'w'), get(p, 'v')]);
      expectClose(earlier.get(front.parameterGradients[0] ?? -1), expected[0] as tf.Tensor);
      expectClose(later.get(back.parameterGradients[0] ?? -1), expected[1] as tf.Tensor);
    });
  });

  it('names kernel, layer and source where no gradient exists', () => {
    const graph = graphOf([], [{ name: 'w', shape: [4] }], (_, p) => ({ loss: tf.sum(tf.relu(get(p, 'w'))) }));
    const named = {
      ...graph,
      nodes: graph.nodes.map((node) => ({
        ...node,
        kernel: node.kernel === 'Relu' ? 'Unheard' : node.kernel,
        scope: 'my_layer',
        source: 'model.ts:7:3',
      })),
    };
    const attempt = () => differentiate(stageOf(named));
    expect(attempt).toThrowError(MerakError);
    expect(attempt).toThrowError(/autodiff\/no-gradient.*Unheard[\s\S]*my_layer, model.ts:7:3/);
  });
});

describe('splitWeightGradients', () => {
  it('puts into B exactly what sent-back gradients depend on', () => {
    const graph = graphOf(
      [{ name: 'received/0', shape: [4, 3] }],
      [
        { name: 'w', shape: [3, 5] },
        { name: 'b', shape: [5] },
      ],
      (x, p) => ({
        'sent/0': tf.tanh(tf.add(tf.matMul(get(x, 'received/0'), get(p, 'w')), get(p, 'b'))),
      }),
    );
    const derivative = differentiate(stageOf(graph));
    const { input, weight } = splitWeightGradients(derivative);
    const kernels = (indices: readonly number[]) => indices.map((index) => derivative.graph.nodes[index]?.kernel);
    expect([...input, ...weight].sort((a, b) => a - b)).toEqual(
      derivative.graph.nodes.map((_, index) => index).slice(derivative.numForwardNodes),
    );
    expect(kernels(input)).toContain('BatchMatMul');
    expect(kernels(weight)).toEqual(expect.arrayContaining(['BatchMatMul', 'Sum']));
    const produced = new Set(input.flatMap((index) => derivative.graph.nodes[index]?.outputs ?? []));
    const later = new Set(weight.flatMap((index) => derivative.graph.nodes[index]?.outputs ?? []));
    expect(input.flatMap((index) => derivative.graph.nodes[index]?.inputs ?? []).some((id) => later.has(id))).toBe(
      false,
    );
    expect(produced.has(derivative.receivedGradients[0] ?? -1)).toBe(true);
  });
});
