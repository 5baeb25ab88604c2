/** Building, checking, cleaning, printing, replaying and costing graphs. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { graphBuilder } from '../../src/graph/builder.js';
import { checkGraph } from '../../src/graph/check.js';
import { dropUnusedParameters, eliminateDeadNodes } from '../../src/graph/clean.js';
import { nodeBytes, nodeFlops } from '../../src/graph/cost.js';
import type { Graph, Node } from '../../src/graph/graph.js';
import { printGraph } from '../../src/graph/print.js';
import { replayGraph } from '../../src/graph/replay.js';
import { record } from '../../src/trace/record.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

function sample(): Graph {
  return record((recorder) => {
    const x = recorder.input('x', [2, 3], 'float32');
    recorder.input('unused', [2], 'int32');
    const w = recorder.parameter('w', [3, 4], 'float32');
    recorder.parameter('idle', [5], 'float32');
    const hidden = tf.matMul(x, w);
    hidden.exp().mul(7);
    const parts = tf.unstack(hidden.relu(), 1);
    return { outputs: [['y', tf.concat([parts[0]!.expandDims(1), parts[2]!.expandDims(1)], 1).add(1)]] };
  });
}

describe('eliminateDeadNodes', () => {
  it('drops what reaches no output, and keeps inputs, parameters and results', () => {
    const graph = checkGraph(sample());
    const clean = checkGraph(eliminateDeadNodes(graph));
    expect(clean.nodes.map(({ kernel }) => kernel)).not.toContain('Exp');
    expect(clean.constants).toHaveLength(1);
    expect(clean.inputs.map(({ name }) => name)).toEqual(['x', 'unused']);
    expect(clean.parameters.map(({ name }) => name)).toEqual(['w', 'idle']);
    expect(eliminateDeadNodes(clean)).toEqual(clean);
    const x = tf.randomNormal([2, 3]);
    const bindings = {
      inputs: { x, unused: tf.zeros([2], 'int32') },
      parameters: [tf.randomNormal([3, 4]), tf.zeros([5])],
    };
    const before = replayGraph(graph, bindings).outputs.y!.dataSync();
    expect([...replayGraph(clean, bindings).outputs.y!.dataSync()]).toEqual([...before]);
  });

  it('drops unused parameters on request', () => {
    const { graph, kept } = dropUnusedParameters(eliminateDeadNodes(sample()));
    expect(kept).toEqual([0]);
    expect(checkGraph(graph).parameters.map(({ name }) => name)).toEqual(['w']);
  });
});

describe('checkGraph', () => {
  it('finds broken graphs', () => {
    const graph = sample();
    const [first, ...rest] = graph.nodes;
    const broken: Graph[] = [
      { ...graph, nodes: [...rest, first!] },
      { ...graph, nodes: [...graph.nodes, first!] },
      { ...graph, outputs: [{ name: 'y', value: 10_000 }] },
      { ...graph, updates: [{ parameter: 0, value: graph.outputs[0]!.value }] },
      { ...graph, nodes: [{ ...first!, inputNames: ['a'] }, ...rest] },
    ];
    for (const bad of broken) expect(() => checkGraph(bad)).toThrow(/malformed graph/);
  });
});

describe('printGraph', () => {
  it('shows every part', () => {
    const text = printGraph(eliminateDeadNodes(sample()));
    expect(text).toContain('input      %0: float32[2, 3]  "x"');
    expect(text).toMatch(/%\d+: float32\[2, 4\] = BatchMatMul\(a=%0, b=%2\)/);
    expect(text).toContain('output');
  });
});

describe('cost', () => {
  function single(kernel: string, shapes: Record<string, number[]>, output: number[], attrs: Node['attrs'] = {}) {
    const builder = graphBuilder();
    const names = Object.keys(shapes);
    const inputs = names.map((name) => builder.addInput(name, { shape: shapes[name]!, dtype: 'float32' }));
    builder.addNode({ kernel, inputs, inputNames: names, outputs: [{ shape: output, dtype: 'float32' }], attrs });
    const graph = builder.build();
    return { flops: nodeFlops(graph, graph.nodes[0]!), bytes: nodeBytes(graph, graph.nodes[0]!) };
  }

  it('counts matrix products exactly, whatever is transposed', () => {
    const size = fc.integer({ min: 1, max: 9 });
    fc.assert(
      fc.property(size, size, size, size, fc.boolean(), fc.boolean(), (b, m, k, n, transposeA, transposeB) => {
        const shapes = { a: [b, ...(transposeA ? [k, m] : [m, k])], b: [b, ...(transposeB ? [n, k] : [k, n])] };
        const cost = single('BatchMatMul', shapes, [b, m, n], { transposeA, transposeB });
        expect(cost.flops).toBe(2 * b * m * k * n);
        expect(cost.bytes).toBe(4 * b * (m * k + k * n + m * n));
      }),
    );
  });

  it('counts convolutions, their gradients, attention and einsum', () => {
    const [x, filter, y] = [
      [2, 8, 8, 3],
      [3, 3, 3, 5],
      [2, 6, 6, 5],
    ];
    const expected = 2 * 2 * 6 * 6 * 5 * 3 * 3 * 3;
    expect(single('Conv2D', { x, filter }, y).flops).toBe(expected);
    expect(single('Conv2DBackpropInput', { dy: y, filter }, x).flops).toBe(expected);
    expect(single('Conv2DBackpropFilter', { x, dy: y }, filter, { filterShape: filter }).flops).toBe(expected);
    const depthwise = single('DepthwiseConv2dNative', { x, filter: [3, 3, 3, 2] }, [2, 6, 6, 6]);
    expect(depthwise.flops).toBe(2 * 2 * 6 * 6 * 6 * 9);
    const q = [2, 16, 4, 8];
    expect(single('MerakAttention', { q, k: q, v: q }, q, { causal: false, scale: 1 }).flops).toBe(
      4 * 2 * 4 * 16 * 16 * 8,
    );
    expect(single('Einsum', { 0: [4, 5], 1: [5, 6] }, [4, 6], { equation: 'ij,jk->ik' }).flops).toBe(2 * 4 * 5 * 6);
  });

  it('charges nothing for renaming and bytes only for moving', () => {
    expect(single('Reshape', { x: [4, 5] }, [20])).toEqual({ flops: 0, bytes: 0 });
    expect(single('Transpose', { x: [4, 5] }, [5, 4])).toEqual({ flops: 0, bytes: 160 });
    expect(single('Add', { a: [4, 5], b: [5] }, [4, 5]).flops).toBe(20);
  });
});
