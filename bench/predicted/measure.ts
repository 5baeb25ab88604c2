/** A plan's step by the clock: its ranks as engines in this process, one thread each. */
import type { Plan } from '../../src/plan/plan.js';
import type { ArenaHandle, StepResult } from '../../src/runtime/device.js';
import { NativeDevice } from '../../src/runtime/native/device.js';
import { watchOthers } from '../../src/runtime/othersLoad.js';
import type { Subject } from './subject.js';

/** Cores that other processes may have during a step that counts. */
const QUIET = 0.05;
/** Steps are repeated until enough were quiet, at most so many times as many. */
const PATIENCE = 4;

export interface Measured {
  /** Of the slowest rank in the middle of the quiet steps, in order of time; the first step is left out. */
  readonly seconds: number;
  /** Cores that other processes had during the steps that count, on average. */
  readonly others: number;
}

/** Where too few steps are quiet, the quietest count. */
export async function measurePlan(plan: Plan, subject: Subject, numSteps: number): Promise<Measured> {
  const steps: Measured[] = [];
  let othersSince = watchOthers();
  const onStep = (results: StepResult[]) => {
    steps.push({ seconds: Math.max(...results.map((result) => result.seconds)), others: othersSince() });
    othersSince = watchOthers();
    // The first step warms up.
    return steps.slice(1).filter(({ others }) => others <= QUIET).length >= numSteps;
  };
  await runPlan(plan, subject, PATIENCE * numSteps, { onStep });
  const counted = steps
    .slice(1)
    .sort((a, b) => a.others - b.others)
    .slice(0, numSteps);
  const seconds = counted.map((step) => step.seconds).sort((a, b) => a - b);
  return {
    seconds: seconds[Math.floor(seconds.length / 2)] ?? Number.NaN,
    others: counted.reduce((sum, step) => sum + step.others, 0) / counted.length,
  };
}

export interface RunOptions {
  readonly record?: boolean;
  /** Called after each step, the first included; ends the run by true. */
  readonly onStep?: (results: StepResult[]) => boolean;
}

/** By step, then rank; the first step is left out. */
export async function runPlan(
  plan: Plan,
  subject: Subject,
  numSteps: number,
  { record = false, onStep = () => false }: RunOptions = {},
): Promise<StepResult[][]> {
  const devices = plan.ranks.map(() => new NativeDevice({ threads: 1 }));
  const handles: ArenaHandle[] = [];
  try {
    for (const [rank, rankPlan] of plan.ranks.entries()) {
      const device = devices[rank];
      if (device === undefined) continue;
      handles.push(...(await device.open(rankPlan)));
      for (const executable of rankPlan.executables) handles.push(...(await device.load(executable)));
      for (const [index, { name, shape }] of rankPlan.parameters.entries()) {
        const value = subject.initial.get(name);
        const size = shape.reduce((product, extent) => product * extent, 1);
        // A tensor rank's piece: any numbers of the right scale take as long.
        if (value instanceof Float32Array) await device.write(index, 'value', value.slice(0, size));
      }
    }
    for (const device of devices) await device.connect(handles);
    const numSamples = plan.numMicroBatches * plan.microBatchSize;
    const steps: StepResult[][] = [];
    for (let step = 0; step <= numSteps; step++) {
      const inputs = subject.inputs(numSamples, step);
      const input = { step, seed: 1, learningRate: 1e-4, timeoutSeconds: 100, inputs, record };
      const results = await Promise.all(devices.map((device) => device.run('train', input)));
      steps.push(results);
      if (onStep(results)) break;
    }
    return steps.slice(1);
  } finally {
    for (const device of devices) device.close();
  }
}
