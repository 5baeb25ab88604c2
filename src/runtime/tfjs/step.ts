/** Runs one step of an executable: its instruction list, in order. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import type { Slots } from '../../plan/plan.js';
import type { HostArray, StepResult } from '../device.js';
import { restoreBackend } from './backend.js';
import { reduceBuckets } from './buckets.js';
import { type CompiledProgram, programKey, valuesIn } from './compile.js';
import { checkAborted, groupOf, type StepContext, trains } from './context.js';
import { collectiveLog, hasNaN, nonFiniteError } from './finite.js';
import { bytesPerElement, makeTensor, numElements, readTensor } from './hostData.js';
import { handOver, packSlot, tagOf, unpackSlot } from './messages.js';
import { type ProgramRun, runProgram } from './run.js';
import { updateParameters } from './update.js';

export interface StepState {
  /** Optimizer updates made before this step. */
  readonly updates: number;
}

export interface StepOutcome extends StepResult {
  readonly updates: number;
}

export async function runStep(context: StepContext, state: StepState): Promise<StepOutcome> {
  const { executable, communicator, storage, input } = context;
  const start = performance.now();
  const outputs: HostArray[][] = executable.outputs.map(() => []);
  let metrics: Float32Array = new Float32Array(executable.metrics.length);
  let reduced = false;
  let gradientNorm = Number.NaN;
  let { updates } = state;
  communicator.setTimeoutSeconds(input.timeoutSeconds);
  communicator.takeWaitSeconds();

  for (const instruction of executable.schedule) {
    checkAborted(context);
    restoreBackend(context.backend);
    switch (instruction.kind) {
      case 'zero':
        zero(context);
        break;
      case 'load':
        load(context, instruction);
        break;
      case 'forward':
        await forward(context, instruction);
        await collectOutputs(context, instruction, outputs);
        break;
      case 'recompute':
      case 'backward':
      case 'weights':
        await runProgram(context, programOf(context, instruction.kind, instruction.chunk), instruction);
        break;
      case 'send':
        await communicator.send(
          instruction.peer,
          tagOf(instruction.what, instruction.micro),
          await packSlot(context, instruction),
        );
        break;
      case 'receive': {
        const message = await communicator.receive(instruction.peer, tagOf(instruction.what, instruction.micro));
        unpackSlot(context, instruction, message);
        break;
      }
      case 'handOver':
        await handOver(context, instruction);
        break;
      case 'reduce':
        if (trains(executable))
          await reduceBuckets(context, 'gradients', context.plan.gradientBuckets, 1 / executable.numMicroBatches);
        metrics = await reduceMetrics(context);
        reduced = true;
        break;
      case 'reduceState':
        await reduceBuckets(context, 'parameters', context.plan.stateBuckets, 1);
        break;
      case 'update':
        updates += 1;
        gradientNorm = await updateParameters(context, updates);
        break;
    }
  }
  if (!reduced) metrics = await localMetrics(context);
  storage.clear('metrics');
  return {
    metrics: Object.fromEntries(
      executable.metrics.map((name, index) => [name, (metrics[index] ?? 0) / executable.numMicroBatches]),
    ),
    gradientNorm,
    outputs: new Map(executable.outputs.map(({ name }, index) => [name, concatenate(outputs[index] ?? [])])),
    seconds: (performance.now() - start) / 1000,
    waitSeconds: communicator.takeWaitSeconds(),
    updates,
  };
}

function programOf({ programs, executable }: StepContext, kind: string, chunk = 0): CompiledProgram {
  const program = programs.get(programKey(kind, chunk));
  if (program === undefined)
    throw new MerakError('plan/invalid', `the executable '${executable.name}' has no ${kind} program`);
  return program;
}

function zero({ storage, executable, plan }: StepContext): void {
  storage.clear('metrics');
  if (!trains(executable)) return;
  for (const { gradientOffset, shape, trainable } of plan.parameters) {
    if (trainable && gradientOffset >= 0) storage.set('gradients', 0, gradientOffset, tf.zeros([...shape]));
  }
}

/** Copies micro-batch `micro` of every field that the chunk reads into a `batch` slot. */
function load(
  { storage, executable, input, plan }: StepContext,
  { micro, slot, chunk: loaded = 0 }: { readonly micro: number; readonly slot: number; readonly chunk?: number },
): void {
  for (const { name, shape, dtype, offset, chunk = 0 } of executable.inputs) {
    if (chunk !== loaded) continue;
    const data = input.inputs.get(name);
    const size = numElements(shape);
    if (data === undefined || data.length !== size * executable.numMicroBatches) {
      throw new MerakError('config/batch', `the batch field '${name}' has the wrong size`, {
        path: `rank ${plan.rank}`,
        expected: `${executable.numMicroBatches} micro-batches of [${shape}]`,
        received: data === undefined ? 'nothing' : `${data.length} numbers`,
      });
    }
    storage.set('batch', slot, offset, makeTensor(data.subarray(micro * size, (micro + 1) * size), shape, dtype));
  }
}

/** Runs the forward program; while training, raises engine/nan-loss as soon as the loss or what is sent on is not finite. */
async function forward(context: StepContext, run: ProgramRun & { readonly chunk?: number }): Promise<void> {
  const program = programOf(context, 'forward', run.chunk);
  if (!trains(context.executable)) return runProgram(context, program, run);
  const log = collectiveLog(context);
  try {
    await runProgram(context, program, log.observe === undefined ? run : { ...run, observe: log.observe });
    const [loss] = context.executable.metrics.length > 0 ? await localMetrics(context) : [0];
    if (!Number.isFinite(loss)) throw await nonFiniteError(context, program, run, log, 'the loss');
    for (const { offset } of valuesIn(context.executable, 'sent', run.chunk ?? 0)) {
      const tensor = context.storage.get('sent', run.slots.sent, offset);
      const data = tensor === undefined ? [] : await readTensor(tensor);
      if (data instanceof Float32Array && hasNaN(data))
        throw await nonFiniteError(context, program, run, log, 'what the stage sends on');
    }
  } finally {
    log.dispose();
  }
}

/** Sums over this rank's micro-batches so far, in the order of `executable.metrics`. */
async function localMetrics({ executable, storage }: StepContext): Promise<Float32Array> {
  const sums = new Float32Array(executable.metrics.length);
  const places = valuesIn(executable, 'metrics');
  for (let index = 0; index < sums.length; index++) {
    const tensor = storage.get('metrics', 0, places[index]?.offset ?? -1);
    if (tensor !== undefined) sums[index] = (await readTensor(tensor))[0] ?? 0;
  }
  return sums;
}

/** Mean over the data axis of the sums over micro-batches. */
async function reduceMetrics(context: StepContext): Promise<Float32Array> {
  const sums = await localMetrics(context);
  const group = groupOf(context.plan, 'dp');
  if (group === undefined || sums.length === 0) return sums;
  return (await context.communicator.allReduce(group, sums, 'sum')).map((sum) => sum / group.ranks.length);
}

async function collectOutputs(
  { executable, storage, plan }: StepContext,
  { slots, chunk: ran = 0 }: { readonly slots: Slots; readonly chunk?: number },
  outputs: HostArray[][],
): Promise<void> {
  for (const [index, { name, offset, shape, dtype, chunk = 0 }] of executable.outputs.entries()) {
    if (chunk !== ran) continue;
    const tensor = storage.get('sent', slots.sent, offset);
    if (tensor === undefined || tensor.size * bytesPerElement(dtype) !== numElements(shape) * bytesPerElement(dtype)) {
      throw new MerakError('plan/invalid', `the forward program left no output '${name}'`, {
        path: `rank ${plan.rank}`,
      });
    }
    outputs[index]?.push((await readTensor(tensor)).slice());
  }
}

function concatenate(parts: readonly HostArray[]): HostArray {
  const [first] = parts;
  const length = parts.reduce((total, part) => total + part.length, 0);
  const whole =
    first instanceof Int32Array
      ? new Int32Array(length)
      : first instanceof Uint8Array
        ? new Uint8Array(length)
        : new Float32Array(length);
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}
