/** Passes that join what follows a product or a layer norm: the same gradients from fewer nodes. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Derivative } from '../../../src/autodiff/derivative.js';
import { differentiate } from '../../../src/autodiff/differentiate.js';
import { checkGraph } from '../../../src/graph/check.js';
import { eliminateDeadNodes } from '../../../src/graph/clean.js';
import type { Graph, ValueId } from '../../../src/graph/graph.js';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { replayGraph } from '../../../src/graph/replay.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import { gpt } from '../../../src/models/gpt.js';
import { fuseDerivative } from '../../../src/planner/fuse.js';
import { traceModel } from '../../../src/trace/trace.js';
import { close } from '../../kernels/numeric.js';
import { kernels } from './parity.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const [batch, length] = [4, 8];

function derivativeOfGpt(): { derivative: Derivative; variables: readonly tf.Tensor[] } {
  const model = gpt({ vocabularySize: 40, contextLength: length, numLayers: 2, numHeads: 2, hiddenSize: 32, seed: 2 });
  const fields = (['tokens', 'targets'] as const).map((name) => ({ name, shape: [length], dtype: 'int32' as const }));
  const { graph, variables } = traceModel(model, 'train', fields, batch);
  const optimised = optimizeGraph(graph);
  const stage = { stage: 0, graph: optimised, parameterOf: optimised.parameters.map((_, index) => index) };
  return { derivative: differentiate(stage), variables };
}

/** The graph with the parameters' gradients as its outputs, and nothing they do not need. */
function gradientGraph({ graph, parameterGradients }: Derivative): Graph {
  const named = parameterGradients.flatMap((value, index): { name: string; value: ValueId }[] =>
    value === null ? [] : [{ name: `gradient${index}`, value }],
  );
  return eliminateDeadNodes({ ...graph, outputs: [...graph.outputs, ...named] });
}

function gradients(graph: Graph, variables: readonly tf.Tensor[]): Float32Array[] {
  const tokens = (shift: number) =>
    tf.tensor2d(
      Int32Array.from({ length: batch * length }, (_, i) => (i * 7 + shift) % 40),
      [batch, length],
      'int32',
    );
  return tf.tidy(() => {
    const { outputs } = replayGraph(graph, {
      inputs: { tokens: tokens(0), targets: tokens(7) },
      parameters: graph.parameters.map((_, index) => variables[index]!),
    });
    return Object.values(outputs).map((output) => Float32Array.from(output.dataSync()));
  });
}

describe('fuseDerivative', () => {
  const count = (graph: Graph, kernel: string) => kernels(graph).filter((one) => one === kernel).length;

  it('gives the gradients of the graph it was given, in f32 and in bf16', () => {
    const { derivative, variables } = derivativeOfGpt();
    const expected = gradients(gradientGraph(derivative), variables);
    for (const precision of ['f32', 'bf16'] as const) {
      const fused = fuseDerivative(derivative, precision);
      expect(fused.numForwardNodes).toBe(derivative.numForwardNodes);
      const graph = gradientGraph(fused);
      checkGraph(graph);
      // tfjs computes in float32 what the engine would round, so the two agree to float32.
      gradients(graph, variables).forEach((gradient, i) => {
        close(gradient, expected[i]!, 1e-4, 1e-6);
      });
    }
  });

  it('leaves no bias, residual, gelu or gelu gradient on its own in bf16', () => {
    const { derivative } = derivativeOfGpt();
    const before = gradientGraph(derivative);
    const after = gradientGraph(fuseDerivative(derivative, 'bf16'));
    expect(count(before, 'MerakGelu')).toBe(2);
    for (const kernel of ['MerakGelu', 'MerakGeluGrad']) expect(count(after, kernel), kernel).toBe(0);
    // Only the sum of the two embeddings is left.
    expect(count(after, 'Add')).toBe(1);
    const joined = after.nodes.filter(({ kernel }) => kernel === 'MerakProduct');
    const having = (name: string) => joined.filter(({ inputNames }) => inputNames.includes(name)).length;
    expect(having('bias')).toBe(8);
    expect(having('point')).toBe(2);
    expect(joined.filter(({ outputs }) => outputs.length === 2)).toHaveLength(2);
    expect(after.nodes.filter(({ inputNames }) => inputNames.includes('residual'))).toHaveLength(4 + 4 + 1);
  });

  it('stores in bfloat16 what only products, attention and gelu read; the residual stream stays float32', () => {
    const { derivative } = derivativeOfGpt();
    const { nodes, values } = gradientGraph(fuseDerivative(derivative, 'bf16'));
    const stored = (id: ValueId | undefined) => values[id ?? -1]?.storedAs;
    for (const { kernel, inputs, inputNames, outputs } of nodes) {
      const input = (name: string) => inputs[inputNames.indexOf(name)];
      if (kernel === 'MerakPackedAttention') expect(stored(input('qkv'))).toBe('bfloat16');
      if (kernel === 'MerakPackedAttentionGrad') expect(stored(input('dy'))).toBe('bfloat16');
      if (kernel === 'MerakLayerNorm') expect(stored(input('x'))).toBeUndefined();
      if (kernel === 'MerakProduct' && outputs.length === 2)
        expect(outputs.map(stored)).toEqual(['bfloat16', 'bfloat16']);
      if (inputNames.includes('residual')) expect(stored(input('residual'))).toBeUndefined();
    }
  });
});
