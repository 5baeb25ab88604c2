/** Unrolled recurrences: one product for the weight gradient of all steps, and the same gradients. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import type { Derivative } from '../../src/autodiff/derivative.js';
import { differentiate } from '../../src/autodiff/differentiate.js';
import { checkGraph } from '../../src/graph/check.js';
import { eliminateDeadNodes } from '../../src/graph/clean.js';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import { replayGraph } from '../../src/graph/replay.js';
import { ensureKernels } from '../../src/kernels/register.js';
import { joinSteps } from '../../src/planner/joinSteps.js';
import { traceModel } from '../../src/trace/trace.js';
import { close } from '../kernels/numeric.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const [features, hidden] = [3, 5];

/** h := tanh(x_t w + h u), and u read in another way as well; the loss is of the last h. */
function derivativeOf(numSteps: number, batch: number): { derivative: Derivative; variables: readonly tf.Tensor[] } {
  const w = tf.variable(tf.randomNormal([features, hidden], 0, 1, 'float32', 1));
  const u = tf.variable(tf.randomNormal([hidden, hidden], 0, 1, 'float32', 2));
  const loss = ({ x }: Record<string, tf.Tensor>) => {
    let h: tf.Tensor2D | undefined;
    for (const step of tf.unstack(x!, 1)) {
      const fed = tf.matMul(step as tf.Tensor2D, w as tf.Tensor2D);
      h = tf.tanh(h === undefined ? fed : tf.add(fed, tf.matMul(h, u as tf.Tensor2D))) as tf.Tensor2D;
    }
    return tf.add(tf.mean(tf.square(h!)), tf.mean(tf.square(u))) as tf.Scalar;
  };
  const { graph, variables } = traceModel(
    loss,
    'train',
    [{ name: 'x', shape: [numSteps, features], dtype: 'float32' }],
    batch,
  );
  const optimised = optimizeGraph(graph);
  const parameterOf = optimised.parameters.map((_, index) => index);
  return {
    derivative: differentiate({ stage: 0, graph: optimised, parameterOf }),
    variables: variables as tf.Variable[],
  };
}

function gradientsOf(
  { graph, parameterGradients }: Derivative,
  variables: readonly tf.Tensor[],
  x: tf.Tensor,
): Float32Array[] {
  const outputs = parameterGradients.map((value, index) => ({ name: `gradient${index}`, value: value! }));
  const whole = eliminateDeadNodes({ ...graph, outputs });
  const { outputs: results } = replayGraph(checkGraph(whole), { inputs: { x }, parameters: variables });
  return Object.values(results).map((one) => one.dataSync() as Float32Array);
}

const products = ({ graph, numForwardNodes }: Derivative): number =>
  graph.nodes
    .slice(numForwardNodes)
    .filter(({ kernel, attrs }) => kernel === 'BatchMatMul' && attrs.transposeA === true).length;

it.each([
  [6, 2],
  [7, 3],
  [5, 1],
])('%i steps of %i samples', (numSteps, batch) => {
  const { derivative, variables } = derivativeOf(numSteps, batch);
  const joined = joinSteps(derivative);
  expect([products(derivative), products(joined)]).toEqual([2 * numSteps - 1, 2]);
  const x = tf.randomNormal([batch, numSteps, features], 0, 1, 'float32', 3);
  const before = gradientsOf(derivative, variables, x);
  for (const [index, gradient] of gradientsOf(joined, variables, x).entries())
    close(gradient, before[index]!, 1e-5, 1e-6);
});

it('few steps, and thick ones, stay as they are', () => {
  for (const [numSteps, batch] of [
    [3, 2],
    [8, 65],
  ] as const) {
    const { derivative } = derivativeOf(numSteps, batch);
    expect(joinSteps(derivative)).toBe(derivative);
  }
});
