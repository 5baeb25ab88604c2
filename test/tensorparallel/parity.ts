/** Compares a graph with its tensor-parallel form: outputs, updates and every parameter's gradient. */
import * as tf from '@tensorflow/tfjs';
import { expect } from 'vitest';
import { differentiate } from '../../src/autodiff/differentiate.js';
import { graphBuilder } from '../../src/graph/builder.js';
import type { Graph } from '../../src/graph/graph.js';
import type { Assignment } from '../../src/tensorparallel/assignment.js';
import { expandDerivative, expandVocabParallel } from '../../src/tensorparallel/expand.js';
import { localise } from '../../src/tensorparallel/localise.js';
import { mergeParameter, sliceParameter } from '../../src/tensorparallel/shards.js';
import { splitBatch } from '../../src/tensorparallel/splitBatch.js';
import { type Feed, runLockstep } from './lockstep.js';

/** Deterministic numbers in (-scale, scale). */
export function numbers(length: number, scale = 1, seed = 1): Float32Array {
  let state = seed * 2654435761 + 12345;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return ((state >>> 8) / 2 ** 23 - 1) * scale;
  });
}

export function ids(length: number, limit: number, seed = 7): Int32Array {
  return Int32Array.from(numbers(length, 1, seed), (x) => Math.floor(((x + 1) / 2) * limit) % limit);
}

export function size(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

export function randomParameters(graph: Graph, scale = 0.5): Float32Array[] {
  return graph.parameters.map(({ value }, i) => numbers(size(graph.values[value]!.shape), scale, i + 11));
}

/** A graph whose every output is also a term of a scalar 'loss' with varied weights, so that gradients reach it all. */
export function withLoss(graph: Graph): Graph {
  const builder = graphBuilder({ ...graph, outputs: [] });
  const terms = graph.outputs
    .filter(({ value }) => graph.values[value]!.dtype === 'float32')
    .map(({ value }, i) => {
      const { shape } = graph.values[value]!;
      const weights = builder.addConstant({ shape, dtype: 'float32' }, numbers(size(shape), 1, i + 101));
      const [product] = builder.addNode({
        kernel: 'Multiply',
        inputs: [value, weights],
        inputNames: ['a', 'b'],
        outputs: [{ shape, dtype: 'float32' }],
      });
      const [sum] = builder.addNode({
        kernel: 'Sum',
        inputs: [product!],
        inputNames: ['x'],
        outputs: [{ shape: [], dtype: 'float32' }],
        attrs: { axis: null, keepDims: false },
      });
      return sum!;
    });
  const loss = terms.reduce((total, term) => {
    const call = { kernel: 'Add', inputs: [total, term], inputNames: ['a', 'b'] };
    return builder.addNode({ ...call, outputs: [{ shape: [], dtype: 'float32' }] })[0]!;
  });
  builder.addOutput('loss', loss);
  for (const { name, value } of graph.outputs) builder.addOutput(name === 'loss' ? 'originalLoss' : name, value);
  return builder.build();
}

/** Runs both forms of `graph` (whose outputs include a scalar `loss`) and expects the same numbers everywhere. */
export function expectParity(
  graph: Graph,
  assignment: Assignment,
  feed: Feed,
  data = randomParameters(graph),
  tolerance = 2e-5,
): void {
  tf.tidy(() => {
    const { degree } = assignment;
    const single = runJoint([graph], feed, [data], graph);
    const locals = Array.from({ length: degree }, (_, index) => localise(graph, assignment, degree, index));
    const shards = locals.map((_, index) =>
      graph.parameters.map(({ value }, i) =>
        sliceParameter(data[i]!, graph.values[value]!.shape, assignment.layouts[value]!, degree, index),
      ),
    );
    const many = runJoint(locals, feed, shards, locals[0]!);
    for (let rank = 0; rank < degree; rank++) {
      graph.outputs.forEach(({ name }, i) => {
        expectClose(many.outputs[rank]![i]!, single.outputs[0]![i]!, tolerance, `output ${name} of rank ${rank}`);
      });
    }
    graph.updates.forEach(({ parameter }, i) => {
      const merged = mergeOf(
        graph,
        assignment,
        parameter,
        many.updates.map((all) => all[i]!),
      );
      expectClose(merged, single.updates[0]![i]!, tolerance, `update ${i}`);
    });
    graph.parameters.forEach(({ name, value }, i) => {
      const expected = single.gradients[0]![i];
      const received = many.gradients.map((all) => all[i]);
      expect(
        received.every((one) => (one == null) === (expected == null)),
        `gradient of ${name} exists`,
      ).toBe(true);
      if (expected == null) return;
      const present = received as Float32Array[];
      if (assignment.layouts[value]!.kind === 'replicate') {
        present.forEach((one, rank) => {
          expectClose(one, expected, tolerance, `gradient of ${name} on rank ${rank}`);
        });
      } else {
        expectClose(mergeOf(graph, assignment, i, present), expected, tolerance, `gradient of ${name}`);
        expectPaddingZero(graph, assignment, i, present);
      }
    });
  });
}

/** Runs `graph` whole and in sub-batches and expects the same outputs, updates and gradients. */
export function expectSameInSubBatches(
  graph: Graph,
  numSubBatches: number,
  feed: Feed,
  data: readonly Float32Array[],
  tolerance: number,
): void {
  tf.tidy(() => {
    const whole = runJoint([graph], feed, [data], graph);
    const split = splitBatch(graph, numSubBatches);
    const pieces = runJoint([split], feed, [data], split);
    for (const kind of ['outputs', 'updates', 'gradients'] as const) {
      whole[kind][0]!.forEach((expected, i) => {
        const received = pieces[kind][0]![i];
        expect(received == null, `${kind} ${i}`).toBe(expected == null);
        if (expected != null) expectClose(received!, expected, tolerance, `${kind} ${i} in sub-batches`);
      });
    }
  });
}

function mergeOf(graph: Graph, assignment: Assignment, parameter: number, shards: Float32Array[]): Float32Array {
  const { value } = graph.parameters[parameter]!;
  return mergeParameter(shards, graph.values[value]!.shape, assignment.layouts[value]!);
}

/** Padding must have no gradient, or it would stop being zero. */
function expectPaddingZero(graph: Graph, assignment: Assignment, parameter: number, shards: Float32Array[]): void {
  const total = (arrays: Float32Array[]): number =>
    arrays.reduce((sum, one) => sum + one.reduce((s, x) => s + Math.abs(x), 0), 0);
  const merged = mergeOf(graph, assignment, parameter, shards);
  expect(total([merged])).toBeCloseTo(total(shards), 3);
}

interface Numbers {
  readonly outputs: Float32Array[][];
  readonly updates: Float32Array[][];
  readonly gradients: (Float32Array | null)[][];
}

function runJoint(
  graphs: readonly Graph[],
  feed: Feed,
  data: readonly (readonly Float32Array[])[],
  like: Graph,
): Numbers {
  const stages = graphs.map((graph) => ({ stage: 0, graph, parameterOf: graph.parameters.map((_, i) => i) }));
  const joints = stages.map((stage) => expandDerivative(differentiate(stage)));
  const tensors = graphs.map((graph, rank) =>
    graph.parameters.map(({ value }, i) => tf.tensor(data[rank]![i]!, [...graph.values[value]!.shape], 'float32')),
  );
  const values = runLockstep(
    joints.map(({ graph }) => graph),
    feed,
    tensors,
  );
  const read = (rank: number, id: number): Float32Array => Float32Array.from(values[rank]![id]!.dataSync());
  // The forward alone gives the same outputs: what evaluate and predict run.
  runLockstep(graphs.map(expandVocabParallel), feed, tensors);
  return {
    outputs: graphs.map((_, rank) => like.outputs.map(({ value }) => read(rank, value))),
    updates: graphs.map((_, rank) => like.updates.map(({ value }) => read(rank, value))),
    gradients: graphs.map((_, rank) =>
      joints[rank]!.parameterGradients.map((id) => (id === null ? null : read(rank, id))),
    ),
  };
}

function expectClose(received: Float32Array, expected: Float32Array, tolerance: number, what: string): void {
  expect(received.length, what).toBe(expected.length);
  const scale = Math.max(1e-3, ...expected.map(Math.abs));
  let worst = 0;
  received.forEach((x, i) => {
    const error = Math.abs(x - expected[i]!) / scale;
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  });
  expect(worst, `${what}: relative error`).toBeLessThan(tolerance);
}

export function countKernels(graph: Graph, kernel: string): number {
  return graph.nodes.filter((node) => node.kernel === kernel).length;
}
