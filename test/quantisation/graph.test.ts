/** Quantised graphs: the same on the native engine and on tfjs, near the float model, smaller, and int8 from product to product. */
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eliminateDeadNodes } from '../../src/graph/clean.js';
import type { Graph } from '../../src/graph/graph.js';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import { packAttention } from '../../src/graph/passes/packAttention.js';
import * as merak from '../../src/index.js';
import { buildFunction, FUNCTION_EXECUTABLE } from '../../src/planner/buildFunction.js';
import { findLayers } from '../../src/quantisation/layers.js';
import { findProducts } from '../../src/quantisation/products.js';
import { quantiseGraph } from '../../src/quantisation/quantiseGraph.js';
import type { Device, ParameterArray } from '../../src/runtime/device.js';
import { NativeDevice } from '../../src/runtime/native/device.js';
import { TfjsDevice } from '../../src/runtime/tfjs/device.js';
import { traceModel } from '../../src/trace/trace.js';

const SHAPE = { vocabularySize: 11, contextLength: 6, numLayers: 2, numHeads: 2, hiddenSize: 8 };
const bert = merak.models.bert({ ...SHAPE, seed: 3 });
// Larger weights than a fresh model's, so that errors show.
for (const variable of bert.variables) if (variable.rank === 2) variable.assign(tf.mul(variable, 8));
const tokens = tf.tensor2d(
  Array.from({ length: 18 }, (_, i) => (i * 7) % 11),
  [3, 6],
  'int32',
);

let graph: Graph;
const weights = new Map<string, ParameterArray>();

beforeAll(async () => {
  const trace = traceModel(bert, 'predict', [{ name: 'tokens', shape: [6], dtype: 'int32' }], 3);
  graph = eliminateDeadNodes(packAttention(optimizeGraph(trace.graph), 0));
  for (const [i, { name }] of trace.graph.parameters.entries())
    weights.set(name, (await trace.variables[i]!.data()) as Float32Array);
});
afterAll(() => bert.dispose());

function quantised(mode: 'ffn' | 'full', granularity: 'tensor' | 'channel' = 'channel') {
  const products = findLayers(graph).flatMap(({ attention, feedForward }) =>
    mode === 'full' ? [...attention, ...feedForward] : feedForward,
  );
  const amax = new Map(findProducts(graph).map(({ source }) => [source, 4]));
  return quantiseGraph(graph, {
    products,
    amax,
    weight: (index) => weights.get(graph.parameters[index]!.name)!,
    granularity,
  });
}

async function run(device: Device, { graph: g, added }: ReturnType<typeof quantised>) {
  const { rank, executable } = buildFunction(g);
  await device.open(rank);
  await device.load(executable);
  for (const [index, { name }] of g.parameters.entries())
    await device.write(index, 'value', added.get(name) ?? weights.get(name)!);
  const inputs = new Map([['tokens', (await tokens.data()) as Int32Array]]);
  const input = { step: 0, seed: 0, learningRate: 0, inputs, timeoutSeconds: 60 };
  const [first, again] = [await device.run(FUNCTION_EXECUTABLE, input), await device.run(FUNCTION_EXECUTABLE, input)];
  expect(again.outputs).toEqual(first.outputs);
  device.close();
  return first.outputs;
}

describe('quantiseGraph', () => {
  it.each(['ffn', 'full'] as const)('%s runs alike on the native engine and on tfjs', async (mode) => {
    for (const granularity of ['tensor', 'channel'] as const) {
      const one = quantised(mode, granularity);
      const native = await run(new NativeDevice({ threads: 2 }), one);
      const reference = await run(new TfjsDevice({ backend: 'cpu' }), one);
      for (const [name, values] of reference) {
        const found = native.get(name)!;
        const apart = Array.from(values, (value, i) => Math.abs(value - found[i]!));
        // A sum on the edge between two steps may be rounded either way; everything else agrees to float32.
        expect(Math.max(...apart)).toBeLessThan(0.05);
        expect(apart.filter((difference) => difference > 1e-4).length).toBeLessThan(0.2 * apart.length);
      }
    }
  });

  it('keeps int8 between the products of a feed-forward block, and one rounding per activation', () => {
    const kernels = (g: Graph, kernel: string) => g.nodes.filter((node) => node.kernel === kernel);
    const ffn = quantised('ffn').graph;
    expect(kernels(ffn, 'MerakQuantisedMatMul')).toHaveLength(4);
    // Only what enters a block is rounded apart; gelu is part of the first product.
    expect(kernels(ffn, 'MerakQuantise')).toHaveLength(2);
    expect(kernels(ffn, 'MerakQuantisedMatMul').filter(({ attrs }) => attrs.outputScale !== undefined)).toHaveLength(2);
    const gelus = (g: Graph) => kernels(g, 'MerakGelu').length;
    expect(gelus(graph) - gelus(ffn)).toBe(2);
    expect(kernels(quantised('full').graph, 'MerakQuantisedMatMul')).toHaveLength(8);
  });

  it('leaves the float weights out, and adds a byte per weight', () => {
    const { graph: g, added } = quantised('full');
    expect(g.parameters.some(({ name }) => name === 'bert/block0/qkv/weight')).toBe(false);
    expect(added.get('bert/block0/qkv/weight.int8')).toBeInstanceOf(Int8Array);
    expect(added.get('bert/block0/qkv/weight.int8')).toHaveLength(8 * 24);
    // The token table is read by the embedding, and stays.
    expect(g.parameters.some(({ name }) => name === 'bert/tokens')).toBe(true);
  });

  it('a transposed weight is turned round', async () => {
    const matrix = tf.variable(tf.randomNormal([5, 4], 0, 1, 'float32', 2), true, 'turned');
    const model: merak.FunctionalModel = {
      loss: ({ x }) => tf.mean(x!),
      predict: ({ x }) => tf.relu(tf.matMul(tf.relu(tf.matMul(x!, matrix, false, true)), matrix)),
    };
    const x = tf.randomUniform([3, 4], 0, 1, 'float32', 5);
    const quantiser = await merak.quantiser(model, { x }, { batchSize: 3 });
    await quantiser.calibrate({ x });
    const quick = await quantiser.build(['ffn']);
    const expected = await (model.predict!({ x }) as tf.Tensor).data();
    const found = await ((await quick.predict({ x })) as tf.Tensor).data();
    for (const [i, value] of expected.entries())
      expect(Math.abs(found[i]! - value)).toBeLessThan(0.05 * Math.max(...expected));
    quick.close();
  });
});

describe('merak.quantiser', () => {
  it('more int8 is smaller and further from float; all float is the model itself', async () => {
    const quantiser = await merak.quantiser(bert, { tokens }, { batchSize: 2 });
    await expect(quantiser.build(['full', 'float'])).rejects.toMatchObject({ code: 'config/invalid' });
    await quantiser.calibrate({ tokens }, { calibrator: 'max' });
    await expect(quantiser.build(['full'])).rejects.toMatchObject({ code: 'config/invalid' });
    const exact = (bert.predict({ tokens }).logits as tf.Tensor).dataSync<'float32'>();
    const found = [];
    for (const modes of [
      ['float', 'float'],
      ['ffn', 'float'],
      ['full', 'full'],
    ] as const) {
      const model = await quantiser.build(modes);
      const { logits } = (await model.predict({ tokens })) as Record<string, tf.Tensor>;
      const error = logits!.dataSync<'float32'>().reduce((sum, value, i) => sum + (value - exact[i]!) ** 2, 0);
      found.push({ bytes: model.weightBytes, error });
      model.close();
    }
    const scale = exact.reduce((sum, value) => sum + value ** 2, 0);
    expect(found[0]!.error).toBeLessThan(1e-10 * scale);
    expect(found[1]!.error).toBeGreaterThan(found[0]!.error);
    expect(found[2]!.error).toBeLessThan(1e-2 * scale);
    expect(found.map(({ bytes }) => bytes)).toEqual([...found.map(({ bytes }) => bytes)].sort((a, b) => b - a));
  });

  it('calibration in parts gives the scales of calibration at once', async () => {
    const whole = await merak.quantiser(bert, { tokens }, { batchSize: 1 });
    await whole.calibrate({ tokens }, { calibrator: 'mse' });
    const parts = await merak.quantiser(bert, { tokens }, { batchSize: 1 });
    for (const i of [2, 0, 1])
      await parts.calibrate({ tokens: tf.slice(tokens, [i, 0], [1, 6]) }, { calibrator: 'mse' });
    const [a, b] = [await whole.build(['full', 'full']), await parts.build(['full', 'full'])];
    const logits = async (model: merak.InferenceModel) =>
      ((await model.predict({ tokens })) as Record<string, tf.Tensor>).logits!.dataSync();
    expect(await logits(a)).toEqual(await logits(b));
    a.close();
    b.close();
  });
});
