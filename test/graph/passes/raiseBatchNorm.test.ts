/** Raising batch normalisation: the same numbers, statistics and order from one kernel; what gradients flow through otherwise stays. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { checkGraph } from '../../../src/graph/check.js';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { raiseBatchNorm } from '../../../src/graph/passes/raiseBatchNorm.js';
import { replayGraph } from '../../../src/graph/replay.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import { fieldsOfModel } from '../../../src/trace/fields.js';
import { traceModel } from '../../../src/trace/trace.js';
import { close, tensor } from '../../kernels/numeric.js';
import { kernels, run, trace } from './parity.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

type Row = tf.Tensor1D;
const X = [2, 3, 2, 4];
const examples = () => [tensor(X), tensor([4], 2), tensor([4], 3), tensor(X, 5)];

function normalise(
  x: tf.Tensor,
  gamma?: tf.Tensor,
  beta?: tf.Tensor,
  axes = x.shape.slice(0, -1).map((_, d) => d),
): tf.Tensor {
  const { mean, variance } = tf.moments(x, axes);
  return tf.batchNorm(x as tf.Tensor4D, mean as Row, variance as Row, beta as Row, gamma as Row, 0.01);
}

/** The graph of `f`, raised, with the same result. */
function raised(f: (...xs: tf.Tensor[]) => tf.Tensor) {
  const graph = optimizeGraph(trace(f, examples()));
  const after = raiseBatchNorm(graph);
  checkGraph(after);
  close(run(after, examples()), run(graph, examples()), 1e-5);
  return after;
}

describe('raiseBatchNorm', () => {
  it.each<[string, (...xs: tf.Tensor[]) => tf.Tensor, object]>([
    ['alone', (x, g, b) => normalise(x!, g, b), { activation: 'linear', residual: false }],
    ['without scale and offset', (x) => normalise(x!), { activation: 'linear', residual: false }],
    ['with relu', (x, g, b) => tf.relu(normalise(x!, g, b)), { activation: 'relu', residual: false }],
    [
      'with a residual',
      (x, g, b, r) => tf.relu(tf.add(r!, normalise(x!, g, b))),
      { activation: 'relu', residual: true },
    ],
  ])('%s becomes one node', (_, f, attrs) => {
    const graph = raised(f);
    expect(kernels(graph)).toEqual(['MerakBatchNorm']);
    expect(graph.nodes[0]!.attrs).toMatchObject(attrs);
  });

  it.each([[[5, 4]], [[3, 2, 4]], [[3, 2, 1, 2, 4]]])('is found in %j, whatever tfjs reshapes', (shape) => {
    const graph = optimizeGraph(trace((x) => normalise(x!), [tensor(shape)]));
    const after = raiseBatchNorm(graph);
    checkGraph(after);
    close(run(after, [tensor(shape)]), run(graph, [tensor(shape)]), 1e-5);
    expect(kernels(after).filter((kernel) => kernel !== 'Reshape')).toEqual(['MerakBatchNorm']);
  });

  it('two norms that are added: one takes the other as its residual', () => {
    const graph = raised((x, g, b, r) => tf.relu(tf.add(normalise(x!, g, b), normalise(r!, b, g))));
    expect(kernels(graph)).toEqual(['MerakBatchNorm', 'MerakBatchNorm']);
    expect(graph.nodes.map(({ attrs }) => attrs.residual)).toEqual([false, true]);
  });

  it('a value that something else reads is made', () => {
    const graph = raised((x, g, b) => {
      const y = normalise(x!, g, b);
      return tf.add(tf.relu(y), tf.exp(y));
    });
    expect(kernels(graph)).toEqual(['MerakBatchNorm', 'Relu', 'Exp', 'Add']);
  });

  it('stays in parts where the mean is of something else', () => {
    const graph = raised((x, g, b, r) => {
      const { mean } = tf.moments(r!, [0, 1, 2]);
      const { variance } = tf.moments(x!, [0, 1, 2]);
      return tf.batchNorm(x as tf.Tensor4D, mean as Row, variance as Row, b as Row, g as Row);
    });
    expect(kernels(graph)).not.toContain('MerakBatchNorm');
  });

  it('leaves alone statistics that the loss reads', () => {
    const graph = raised((x, g, b) => {
      const { mean, variance } = tf.moments(x!, [0, 1, 2]);
      const y = tf.batchNorm(x as tf.Tensor4D, mean as Row, variance as Row, b as Row, g as Row);
      return tf.add(y, variance);
    });
    expect(kernels(graph)).not.toContain('MerakBatchNorm');
  });

  it('moving averages of tf.layers are those of the batch, and nodes keep an order that runs', () => {
    const model = tf.sequential({
      layers: [
        tf.layers.conv2d({ filters: 4, kernelSize: 3, inputShape: [6, 6, 2], useBias: false }),
        tf.layers.batchNormalization({ momentum: 0.5 }),
        tf.layers.reLU(),
        tf.layers.flatten(),
        tf.layers.dense({ units: 2 }),
      ],
    });
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const fields = fieldsOfModel(model);
    const { graph: traced, variables } = traceModel(model, 'train', fields, 3);
    const graph = optimizeGraph(traced);
    const after = raiseBatchNorm(graph);
    checkGraph(after);
    expect(kernels(after)).toContain('MerakBatchNorm');
    expect(kernels(after)).not.toContain('FusedBatchNorm');
    expect(kernels(after)).not.toContain('Relu');
    const inputs = Object.fromEntries(fields.map(({ name, shape }, i) => [name, tensor([3, ...shape], i + 4)]));
    const [before, now] = [graph, after].map((one) => replayGraph(one, { inputs, parameters: variables }));
    close(now!.outputs.loss!.dataSync(), before!.outputs.loss!.dataSync(), 1e-5);
    expect(now!.updates).toHaveLength(2);
    for (const [i, update] of now!.updates.entries()) close(update.dataSync(), before!.updates[i]!.dataSync(), 1e-5);
  });
});
