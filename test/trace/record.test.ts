/** Recording kernel calls on proxy tensors. */
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { MerakError } from '../../src/errors.js';
import type { Graph } from '../../src/graph/graph.js';
import { record } from '../../src/trace/record.js';

function kernels(graph: Graph): string[] {
  return graph.nodes.map((node) => node.kernel);
}

function errorOf(body: () => unknown): MerakError {
  try {
    body();
  } catch (error) {
    if (error instanceof MerakError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('record', () => {
  it('records kernels with their inputs, attributes and source', () => {
    const graph = record((recorder) => {
      const x = recorder.input('x', [2, 3], 'float32');
      return { outputs: [['y', x.transpose([1, 0]).mul(2)]] };
    });
    expect(kernels(graph)).toEqual(['Transpose', 'Multiply']);
    expect(graph.nodes[0]).toMatchObject({ inputNames: ['x'], attrs: { perm: [1, 0] } });
    expect(graph.nodes[1]).toMatchObject({ inputNames: ['a', 'b'] });
    expect(graph.nodes[0]?.source).toMatch(/test\/trace\/record\.test\.ts:26:\d+$/);
    expect(graph.values[graph.outputs[0]!.value]).toEqual({ shape: [3, 2], dtype: 'float32', batchDim: -1 });
    expect([...graph.constants[0]!.data]).toEqual([2]);
  });

  it('makes one parameter of a variable however often it is used, and moves no data', () => {
    const weight = tf.variable(tf.tensor2d([[1, 2]]), true, 'record_w');
    const frozen = tf.variable(tf.scalar(3), false, 'record_frozen');
    const graph = record((recorder) => {
      const x = recorder.input('x', [1, 2], 'float32');
      return { outputs: [['y', x.mul(weight).add(weight).mul(frozen)]] };
    });
    expect(graph.parameters).toEqual([
      { name: 'record_w', value: expect.any(Number), trainable: true },
      { name: 'record_frozen', value: expect.any(Number), trainable: false },
    ]);
    expect(graph.constants).toEqual([]);
    expect([...weight.dataSync()]).toEqual([1, 2]);
  });

  it('turns assignments into updates and leaves the variable alone', () => {
    const state = tf.variable(tf.scalar(1), false, 'record_state');
    const graph = record((recorder) => {
      const x = recorder.input('x', [], 'float32');
      state.assign(state.add(x));
      return { outputs: [['y', state.mul(2)]] };
    });
    const added = graph.nodes[0]!.outputs[0]!;
    expect(graph.updates).toEqual([{ parameter: 0, value: added }]);
    expect(graph.nodes[1]!.inputs[0]).toBe(added);
    expect(state.dataSync()[0]).toBe(1);
  });

  it('captures real tensors as constants, once', () => {
    const mask = tf.tensor1d([1, 0, 1]);
    const graph = record((recorder) => {
      const x = recorder.input('x', [3], 'float32');
      return { outputs: [['y', x.mul(mask).add(mask)]] };
    });
    expect(graph.constants.map(({ data }) => [...data])).toEqual([[1, 0, 1]]);
  });

  it("records the backward pass under tfjs's tape", () => {
    const graph = record((recorder) => {
      const x = recorder.input('x', [2, 3], 'float32');
      const w = recorder.parameter('w', [3, 4], 'float32');
      const gradient = tf.grad((weight: tf.Tensor) => x.matMul(weight).relu().sum())(w);
      return { outputs: [['dw', gradient]] };
    });
    expect(kernels(graph).filter((kernel) => kernel === 'BatchMatMul')).toHaveLength(2);
    expect(graph.values[graph.outputs[0]!.value]!.shape).toEqual([3, 4]);
  });

  it('restores the backend, also after errors, and nests', () => {
    const before = tf.getBackend();
    record(() => {
      const inner = record((recorder) => ({ outputs: [['y', recorder.input('x', [1], 'float32').neg()]] }));
      expect(kernels(inner)).toEqual(['Neg']);
      return { outputs: [] };
    });
    expect(() =>
      record(() => {
        throw new Error('user error');
      }),
    ).toThrow('user error');
    expect(tf.getBackend()).toBe(before);
    expect(tf.add(1, 2).dataSync()[0]).toBe(3);
  });

  it('leaves no tensors behind', () => {
    const before = tf.memory().numTensors;
    record((recorder) => {
      const w = recorder.parameter('w', [3, 3], 'float32');
      return { outputs: [['dw', tf.grad((x: tf.Tensor) => x.matMul(x).tanh().sum())(w)]] };
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  it('refuses to read values, naming the line', () => {
    const error = errorOf(() =>
      record((recorder) => {
        const x = recorder.input('x', [2], 'float32');
        return { outputs: [['y', x.mul(x.sum().dataSync()[0]!)]] };
      }),
    );
    expect(error.code).toBe('trace/data-read');
    expect(error.path).toMatch(/record\.test\.ts:113:/);
  });

  it('refuses an asynchronous read even when nobody waits for it', () => {
    const error = errorOf(() =>
      record((recorder) => {
        const x = recorder.input('x', [2], 'float32');
        x.data().catch(() => {});
        return { outputs: [['y', x]] };
      }),
    );
    expect(error.code).toBe('trace/data-read');
  });

  it('refuses to read a variable', () => {
    const scale = tf.variable(tf.scalar(2), true, 'record_scale');
    const error = errorOf(() =>
      record((recorder) => ({ outputs: [['y', recorder.input('x', [2], 'float32').mul(scale.dataSync()[0]!)]] })),
    );
    expect(error.code).toBe('trace/data-read');
  });

  it('refuses unknown kernels and dynamic shapes', () => {
    const unknown = errorOf(() =>
      record((recorder) => {
        const x = recorder.input('x', [2], 'float32');
        return { outputs: [['y', tf.tidy('encoder', () => tf.engine().runKernel<tf.Tensor>('MyKernel', { x }))]] };
      }),
    );
    expect(unknown).toMatchObject({ code: 'trace/unknown-kernel', message: expect.stringContaining('MyKernel') });
    expect(unknown.path).toMatch(/record\.test\.ts:\d+:\d+ \(layer encoder\)$/);
    const dynamic = errorOf(() =>
      record((recorder) => ({ outputs: [['y', tf.unique(recorder.input('x', [2], 'float32')).values]] })),
    );
    expect(dynamic.code).toBe('trace/dynamic-shape');
    const where = errorOf(() =>
      record((recorder) => {
        const x = recorder.input('x', [2], 'float32');
        tf.whereAsync(x.greater(0)).catch(() => {});
        return { outputs: [['y', x]] };
      }),
    );
    expect(where.code).toBe('trace/dynamic-shape');
  });

  it('refuses variables made inside the model', () => {
    const error = errorOf(() =>
      record((recorder) => {
        const w = tf.variable(tf.ones([2]), true, 'record_inside');
        return { outputs: [['y', recorder.input('x', [2], 'float32').mul(w)]] };
      }),
    );
    expect(error.code).toBe('trace/model');
  });
});
