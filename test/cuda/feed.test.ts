/**
 * Batches that are announced are copied to the stand-in card while the step before runs, which changes no result: in order, out of order, from
 * several executables, after errors. The stand-in works streams off as late as it may, so that a copy nobody has ordered shows.
 */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import type { Executable, RankPlan } from '../../src/plan/plan.js';
import { buildPlan } from '../../src/planner/buildPlan.js';
import type { StepInput } from '../../src/runtime/device.js';
import { NativeDevice } from '../../src/runtime/native/device.js';
import { nativeWorkspace } from '../../src/runtime/native/workspace.js';
import type { Batch } from '../../src/trace/model.js';
import { traceModel } from '../../src/trace/trace.js';
import { standInNotes } from '../standin/notes.js';
import { drawer } from './card.js';

const [SAMPLES, WIDTH, MICRO_BATCHES] = [3, 5, 2];
/** Two fields, each from a multiple of 64 bytes on. */
const BATCH_BYTES = 128 + 64;
const NUM_STEPS = 6;

const isCard = process.env.MERAK_TEST_GPU === '1';
if (isCard) console.warn('SKIPPED: calls are written down by the stand-in driver');

const draw = drawer(9);
const numbers = (n: number) => Float32Array.from({ length: n }, () => draw() - 0.5);
const start = numbers(WIDTH);

let plan: RankPlan;
beforeAll(async () => {
  await tf.setBackend('cpu');
  const weights = tf.variable(tf.tensor1d(start), true, 'weights');
  const model = ({ x, y }: Batch) =>
    tf.mean(tf.square(tf.sub(tf.sum(tf.mul(x as tf.Tensor, weights), 1), y as tf.Tensor)));
  const fields = [
    { name: 'x', shape: [WIDTH], dtype: 'float32' as const },
    { name: 'y', shape: [], dtype: 'float32' as const },
  ];
  const { graph } = traceModel(model, 'train', fields, SAMPLES);
  const optimizer = { kind: 'momentum', momentum: 0.9, nesterov: false } as const;
  const mesh = { pp: 1, dp: 1, tp: 1 };
  plan = buildPlan({ train: graph, mesh, optimizer, numMicroBatches: MICRO_BATCHES }).ranks[0]!;
  weights.dispose();
});
const calls = standInNotes('CALLS');

function inputsOf(step: number): StepInput {
  const fresh = drawer(step + 20);
  const field = (n: number) => Float32Array.from({ length: n }, () => fresh());
  const inputs = new Map([
    ['x', field(MICRO_BATCHES * SAMPLES * WIDTH)],
    ['y', field(MICRO_BATCHES * SAMPLES)],
  ]);
  return { step, seed: 1, learningRate: 0.05, timeoutSeconds: 60, inputs };
}

async function opened(): Promise<NativeDevice> {
  const device = new NativeDevice({ cuda: { ordinal: 0 } });
  await device.open(plan);
  const [train] = plan.executables;
  for (const name of [train!.name, 'other']) await device.load({ ...train!, name });
  await device.write(0, 'value', start);
  return device;
}

interface Seen {
  readonly losses: number[];
  readonly weights: Float32Array;
}

/** Steps one after the other; `announced` names those whose batches are, each `ahead` steps before its own. */
async function trained(
  announced: (step: number) => boolean,
  {
    ahead = 1,
    executable = (_: number): string => 'train',
    between = async (_: NativeDevice, _step: number) => {},
  } = {},
): Promise<Seen> {
  const device = await opened();
  const inputs = Array.from({ length: NUM_STEPS }, (_, step) => inputsOf(step));
  const losses: number[] = [];
  for (const [step, input] of inputs.entries()) {
    if (step === 0) for (let first = 0; first < ahead; first++) announce(first);
    announce(step + ahead);
    await between(device, step);
    losses.push((await device.run(executable(step), input)).metrics.loss!);
  }
  const weights = (await device.read(0, 'value')) as Float32Array;
  device.close();
  return { losses, weights };

  function announce(step: number): void {
    if (step < NUM_STEPS && announced(step)) device.announce!(executable(step), inputs[step]!);
  }
}

const never = () => false;
const always = () => true;

it('the processor has no use for it', () => {
  expect(new NativeDevice({ threads: 1 }).announce).toBeUndefined();
});

it('changes no result', async () => {
  const plain = await trained(never);
  expect(new Set(plain.losses).size).toBe(NUM_STEPS);
  expect(await trained(always)).toEqual(plain);
  expect(await trained((step) => step % 3 !== 1)).toEqual(plain);
  expect(await trained(always, { ahead: 3 })).toEqual(plain);
});

it('nor with two executables in turn, or one that is loaded anew while its batch lies there', async () => {
  const inTurn = { executable: (step: number) => (step % 2 === 0 ? 'train' : 'other') };
  const plain = await trained(never, inTurn);
  expect(await trained(always, inTurn)).toEqual(plain);
  const between = async (device: NativeDevice, step: number) => {
    if (step === 4) await device.load(plan.executables[0]!);
  };
  expect(await trained(always, { ...inTurn, between })).toEqual(plain);
});

it('a batch that no step came for makes way, and one that does not fit is for its step to refuse', async () => {
  const plain = await trained(never);
  const between = async (device: NativeDevice, step: number) => {
    if (step === 2) device.announce!('train', inputsOf(77));
    if (step === 3) {
      const wrong = { ...inputsOf(78), inputs: new Map([['x', new Float32Array(2)]]) };
      device.announce!('train', wrong);
      await expect(device.run('train', wrong)).rejects.toMatchObject({ code: 'config/batch' });
      device.announce!('nothing of this name', inputsOf(79));
    }
  };
  expect(await trained((step) => step > 3, { between })).toEqual(plain);
});

it.skipIf(isCard)(
  'the next batch is on its way, on a stream of its own, before the step’s end is looked for',
  async () => {
    const device = await opened();
    const inputs = Array.from({ length: NUM_STEPS }, (_, step) => inputsOf(step));
    device.announce!('train', inputs[0]!);
    for (const [step, input] of inputs.entries()) {
      if (step + 1 < NUM_STEPS) device.announce!('train', inputs[step + 1]!);
      if (step === NUM_STEPS - 2) calls();
      await device.run('train', input);
    }
    device.close();
    // The last step but one, which is a graph; then the last, which has a batch but none after it.
    const made = calls().map((line) => line.split(' '));
    const stream = made.find(([call]) => call === 'graph')![1];
    const order = made
      .filter(([, , bytes]) => bytes === undefined || bytes === String(BATCH_BYTES))
      .map(([call, on]) => `${call} ${on === stream ? 'steps' : 'ahead'}`)
      .filter((call, i, all) => call !== all[i - 1]);
    const [begins, runs, ends] = [['wait steps', 'DtoD steps', 'record steps'], 'graph steps', 'query steps'];
    expect(order).toEqual([
      ...[...begins, runs, 'wait ahead', 'HtoD ahead', 'record ahead', ends],
      ...[...begins, runs, ends],
    ]);
  },
);

it('the plan states the bytes: a training step’s batch twice', async () => {
  const [train] = plan.executables;
  const ask = (executable: Executable) =>
    nativeWorkspace(1, 90)({ ...executable, programs: [...executable.programs] }, plan).keptBytes;
  const looking = train!.schedule.filter(({ kind }) => kind === 'load' || kind === 'forward');
  expect(ask(train!) - ask({ ...train!, schedule: looking })).toBe(2 * BATCH_BYTES);

  const device = new NativeDevice({ cuda: { ordinal: 0 } });
  await device.open(plan);
  const workspace = async (executable: Executable) => {
    await device.load(executable);
    return device.measuredBytes().workspace!;
  };
  const one = await workspace(train!);
  expect((await workspace({ ...train!, name: 'other' })) - one).toBe(2 * BATCH_BYTES);
  device.close();
});
