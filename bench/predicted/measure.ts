/** A plan's step by the clock: its ranks as engines in this process, one thread each. */
import type { Plan } from '../../src/plan/plan.js';
import type { ArenaHandle, StepResult } from '../../src/runtime/device.js';
import { NativeDevice } from '../../src/runtime/native/device.js';
import type { Subject } from './subject.js';

/** Seconds of the slowest rank in the middle of the steps, in order of time; the first step is left out. */
export async function measurePlan(plan: Plan, subject: Subject, numSteps: number): Promise<number> {
  const seconds = (await runPlan(plan, subject, numSteps)).map((results) =>
    Math.max(...results.map((result) => result.seconds)),
  );
  return seconds.sort((a, b) => a - b)[Math.floor(seconds.length / 2)] ?? Number.NaN;
}

/** By step, then rank; the first step is left out. */
export async function runPlan(
  plan: Plan,
  subject: Subject,
  numSteps: number,
  { record = false } = {},
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
      steps.push(await Promise.all(devices.map((device) => device.run('train', input))));
    }
    return steps.slice(1);
  } finally {
    for (const device of devices) device.close();
  }
}
