/** Plans of the example models for cards: nothing of them is left to the processor, and chains are one launch. */
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { WORKLOADS } from '../../bench/models/workloads.js';
import * as merak from '../../src/index.js';
import type { Plan, ProgramNode } from '../../src/plan/plan.js';
import { buildPlan, type PlanInput } from '../../src/planner/buildPlan.js';
import { loadAddon, type NodeSpec } from '../../src/runtime/native/addon.js';
import { fieldsOfModel } from '../../src/trace/fields.js';
import type { FieldSpec, UserModel } from '../../src/trace/model.js';
import { config } from '../../src/trainers/drlFsod/config.js';
import { detector } from '../../src/trainers/drlFsod/detector.js';
import { traced } from '../planner/training.js';

const OPTIMIZER: PlanInput['optimizer'] = { kind: 'sgd' };

type Options = Partial<Pick<PlanInput, 'fusesChains' | 'precision'>>;

function planned(model: UserModel, fields: readonly FieldSpec[], options: Options = {}): Plan {
  const { train, evaluate } = traced(model, fields, 2);
  return buildPlan({ train, evaluate, optimizer: OPTIMIZER, fusesChains: true, ...options });
}

function nodesOf(plan: Plan): { node: ProgramNode; spec: NodeSpec }[] {
  const programs = plan.ranks.flatMap(({ executables }) => executables.flatMap(({ programs }) => programs));
  return programs.flatMap(({ nodes, values }) =>
    nodes.map((node) => {
      const typeOf = (id: number) => ({ shape: values[id]!.shape, dtype: values[id]!.dtype });
      const { kernel, inputNames, attrs } = node;
      const types = { inputs: node.inputs.map(typeOf), outputs: node.outputs.map(typeOf) };
      return { node, spec: { kernel, inputNames, attrs, ...types } as unknown as NodeSpec };
    }),
  );
}

/** Why the processor would run nodes of the plan, by kernel. */
function leftOver(plan: Plan): Record<string, string> {
  const reasons = nodesOf(plan).map(({ spec }) => [spec.kernel, loadAddon().cudaSupports(spec)] as const);
  return Object.fromEntries(reasons.filter(([, reason]) => reason !== ''));
}

const digits = () =>
  tf.sequential({
    layers: [
      tf.layers.conv2d({ inputShape: [28, 28, 1], filters: 16, kernelSize: 3, activation: 'relu' }),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu' }),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.flatten(),
      tf.layers.dropout({ rate: 0.3 }),
      tf.layers.dense({ units: 10, activation: 'softmax' }),
    ],
  });

const gpt = () =>
  merak.models.gpt({
    vocabularySize: 50,
    contextLength: 16,
    numLayers: 2,
    numHeads: 2,
    hiddenSize: 32,
    dropout: 0.1,
    seed: 1,
  } as merak.models.GptConfig);
const TOKENS = ['tokens', 'targets'].map((name) => ({ name, shape: [16], dtype: 'int32' as const }));

/** The CPU engine's kernels that cards lack, and why. */
const ON_THE_HOST = {
  BroadcastArgs: 'its result is a shape of a few numbers, which the host reads',
  MerakBatchNorm: 'plans for cards have it in parts, of which chains are made',
  MerakBatchNormGrad: 'as MerakBatchNorm',
  MerakQuantise: 'int8 inference is of the processor',
  MerakQuantisedMatMul: 'int8 inference is of the processor',
  NonMaxSuppressionV3: 'each box kept depends on those before; the data gives how many there are',
  NonMaxSuppressionV4: 'as NonMaxSuppressionV3',
  NonMaxSuppressionV5: 'as NonMaxSuppressionV3',
  Unique: 'the data gives the shape',
};

describe('everything runs on the card', () => {
  it('but a few kernels, for reasons', () => {
    const addon = loadAddon();
    const card = new Set(addon.cudaKernelNames());
    expect(addon.kernelNames().filter((name) => !card.has(name))).toEqual(Object.keys(ON_THE_HOST));
  });
  it('but what the CUDA engine lacks is named', () => {
    const { spec } = nodesOf(planned(gpt(), TOKENS))[0]!;
    expect(loadAddon().cudaSupports({ ...spec, kernel: 'Unique' })).toContain('no kernel');
  });
  it.each(WORKLOADS.filter(({ name }) => name !== 'gpt124m'))('$name', (workload) => {
    for (const precision of ['f32', 'bf16'] as const) {
      const plan = planned(workload.build().model, workload.fields, { precision });
      expect(leftOver(plan), precision).toEqual({});
    }
  });
  it('the digits', () => {
    const model = digits();
    model.compile({ optimizer: 'sgd', loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
    expect(leftOver(planned(model, fieldsOfModel(model)))).toEqual({});
  });
  it('a GPT with dropout', () => expect(leftOver(planned(gpt(), TOKENS))).toEqual({}));
  it('the detector', () => {
    const settings = config.parse({ width: 4, headWidth: 8, roisPerImage: 8, supportSize: 16, batchSize: 2 });
    const model = detector({
      ...settings,
      numClasses: 3,
      imageWidth: 32,
      imageHeight: 32,
      architecture: 'residual',
      seed: 1,
    });
    const field = (name: string, shape: number[], dtype: 'float32' | 'int32' = 'float32') => ({ name, shape, dtype });
    const fields = [
      field('image', [32, 32, 3]),
      field('boxes', [2, 4]),
      field('labels', [2], 'int32'),
      field('present', [2]),
      field('ignored', [2]),
      field('supports', [2, 16, 16, 3]),
      field('supportLabels', [2], 'int32'),
    ];
    expect(leftOver(planned(model, fields))).toEqual({});
  });
});

describe('chains', () => {
  it('are fewer launches: layer models and a transformer', () => {
    const launches = (plan: Plan) => nodesOf(plan).filter(({ node }) => !VIEWS.has(node.kernel)).length;
    const lstm = WORKLOADS.find(({ name }) => name === 'lstm')!.build().model;
    // Of a GPT's block, whose bias, gelu and norms are in kernels already, both dropouts take their residuals.
    const cases: [UserModel, readonly FieldSpec[] | undefined, (apart: number) => number][] = [
      [lstm, undefined, (apart) => 0.6 * apart],
      [gpt(), TOKENS, (apart) => apart - 2 * 2],
    ];
    for (const [model, fields, most] of cases) {
      const own = fields ?? fieldsOfModel(model as tf.LayersModel);
      const [apart, fused] = [planned(model, own, { fusesChains: false }), planned(model, own)];
      expect(launches(fused)).toBeLessThanOrEqual(most(launches(apart)));
      const peak = (plan: Plan) => Math.max(...plan.ranks[0]!.executables.map(({ arenaBytes }) => arenaBytes));
      expect(peak(fused)).toBeLessThanOrEqual(peak(apart) * 1.05);
    }
  });
});

const VIEWS = new Set(['Identity', 'Reshape', 'ExpandDims', 'Squeeze']);
