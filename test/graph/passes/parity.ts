/** Tracing a function and comparing a graph before and after a pass on the CPU backend. */
import * as tf from '@tensorflow/tfjs';
import { expect } from 'vitest';
import { checkGraph } from '../../../src/graph/check.js';
import type { Graph } from '../../../src/graph/graph.js';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { replayGraph } from '../../../src/graph/replay.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import { record } from '../../../src/trace/record.js';
import { close } from '../../kernels/numeric.js';

/** The graph of `f` of tensors shaped as `examples`, under a tape or not. */
export function trace(f: (...xs: tf.Tensor[]) => tf.Tensor, examples: readonly tf.Tensor[]): Graph {
  return record((recorder) => {
    const xs = examples.map((x, i) => recorder.input(`x${i}`, x.shape, x.dtype as 'float32' | 'int32' | 'bool'));
    return { outputs: [['y', f(...xs)]] };
  });
}

export function run(graph: Graph, examples: readonly tf.Tensor[], parameters: readonly tf.Tensor[] = []): Float32Array {
  ensureKernels('cpu');
  return tf.tidy(() => {
    const inputs = Object.fromEntries(graph.inputs.map(({ name }, i) => [name, examples[i]!]));
    const { outputs } = replayGraph(graph, { inputs, parameters });
    return Float32Array.from(Object.values(outputs)[0]!.dataSync());
  });
}

export const kernels = (graph: Graph): string[] => graph.nodes.map((node) => node.kernel);

/** Optimises the trace of `f`, checks that its result has not changed, and returns the optimised graph. */
export function optimized(
  f: (...xs: tf.Tensor[]) => tf.Tensor,
  examples: readonly tf.Tensor[],
  tolerance = 1e-5,
): Graph {
  const graph = trace(f, examples);
  const after = optimizeGraph(graph);
  checkGraph(after);
  expect(after.values[after.outputs[0]!.value]).toEqual(graph.values[graph.outputs[0]!.value]);
  close(run(after, examples), run(graph, examples), tolerance);
  return after;
}
