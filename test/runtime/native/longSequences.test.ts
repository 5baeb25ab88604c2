/** Attention's memory grows with the length of the sequence, not with its square, forward and backward: in the bytes of plans. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import { gpt } from '../../../src/models/gpt.js';
import { rankMemory } from '../../../src/plan/memoryReport.js';
import { buildPlan } from '../../../src/planner/buildPlan.js';
import { nativeWorkspace } from '../../../src/runtime/native/workspace.js';
import type { Batch } from '../../../src/trace/model.js';
import { traceModel } from '../../../src/trace/trace.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const [NUM_HEADS, HIDDEN] = [4, 32];
const [SHORT, LONG] = [512, 4096];
/** Of one matrix of scores, for all heads. */
const SCORES = NUM_HEADS * LONG ** 2 * 4;

const FIELDS = (length: number) =>
  (['tokens', 'targets'] as const).map((name) => ({ name, shape: [length], dtype: 'int32' as const }));

function ofMerak(length: number) {
  const sizes = { vocabularySize: 16, contextLength: length, numLayers: 1, numHeads: NUM_HEADS, hiddenSize: HIDDEN };
  const model = gpt({ ...sizes, seed: 1 });
  return traceModel(model, 'train', FIELDS(length), 1).graph;
}

/** As users write it: products, a softmax, transposes. */
function ofTfjs(length: number) {
  const weight = tf.variable(tf.randomNormal([16, HIDDEN], 0, 1, 'float32', 3));
  const model = ({ tokens, targets }: Batch) => {
    const x = tf.gather(weight, tokens as tf.Tensor2D);
    const heads = tf.transpose(tf.reshape(x, [-1, length, NUM_HEADS, HIDDEN / NUM_HEADS]), [0, 2, 1, 3]);
    const scores = tf.div(tf.matMul(heads, heads, false, true), Math.sqrt(HIDDEN / NUM_HEADS));
    const y = tf.transpose(tf.matMul(tf.softmax(scores), heads), [0, 2, 1, 3]);
    return tf.mean(tf.square(tf.sub(tf.sum(y, [2, 3]), tf.cast(targets as tf.Tensor2D, 'float32'))));
  };
  return traceModel(model, 'train', FIELDS(length), 1).graph;
}

function planned(graph: ReturnType<typeof ofMerak>, precision: 'f32' | 'bf16'): number {
  const plan = buildPlan({
    train: optimizeGraph(graph),
    mesh: { dp: 1, tp: 1, pp: 1 },
    optimizer: { kind: 'sgd' },
    microBatchSize: 1,
    precision,
    workspaceOf: nativeWorkspace(2),
  });
  return rankMemory(plan.ranks[0]!).peakBytes;
}

describe.each([
  ['merak.models.gpt', ofMerak],
  ['attention written in tfjs', ofTfjs],
])('%s on 4096 tokens', (_, graphOf) => {
  it.each(['f32', 'bf16'] as const)('%s: all it takes is far less than one matrix of scores', (precision) => {
    const [short, long] = [planned(graphOf(SHORT), precision), planned(graphOf(LONG), precision)];
    expect(long).toBeLessThan(SCORES / 4);
    expect(long / short).toBeLessThan((1.1 * LONG) / SHORT);
  });
});
