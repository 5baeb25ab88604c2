/**
 * Recording: run a body on proxy tensors and get the graph of its kernel calls.
 *
 * The body may use tfjs's gradient tape (tf.grads, tf.variableGrads): backward kernels are recorded like any others.
 * A forward pass outside a tape calls tfjs's fused kernels (`_FusedMatMul`, `FusedConv2D`, `FusedDepthwiseConv2D`),
 * activations included; they are recorded as they are, and graph/passes splits them before anything is differentiated.
 */
import * as tf from '@tensorflow/tfjs';
import type { Graph } from '../graph/graph.js';
import { onProxyBackend, PROXY_BACKEND } from './backend.js';
import { dataReadError } from './failure.js';
import { registerProxyKernels, unknownKernel } from './kernels.js';
import { withMode } from './mode.js';
import { patch, patched } from './patch.js';
import { type HostData, proxies } from './proxy.js';
import {
  type Recorder,
  type Recording,
  type RecordingInProgress,
  type RecordingOptions,
  startRecording,
} from './recording.js';
import { patchLayerScopes } from './scopes.js';

export type { Recorder, Recording } from './recording.js';

export interface Recorded {
  readonly outputs: readonly (readonly [name: string, tensor: tf.Tensor])[];
}

/**
 * The graph of everything `body` computes, in order, nothing removed. tf.Variables used become parameters, assignments
 * to them updates (the variables keep their values), data and tensors from outside constants.
 * Raises trace/data-read, trace/unknown-kernel, trace/dynamic-shape, trace/model; the previous backend is always restored.
 */
export function record(body: (recorder: Recorder) => Recorded, options: RecordAllOptions = {}): Graph {
  return recordAll(body, options).graph;
}

export interface RecordAllOptions extends RecordingOptions {
  /** More patches of tfjs for the time of the recording. */
  readonly patches?: (recorder: Recorder) => readonly (() => () => void)[];
}

/** `record`, with the variables behind the parameters and the constants drawn at random. */
export function recordAll(
  body: (recorder: Recorder) => Recorded,
  { patches, ...options }: RecordAllOptions = {},
): Recording {
  registerProxyKernels();
  const engine = tf.engine();
  const readSync = engine.readSync.bind(engine);
  const recording = startRecording((dataId) => toHostData(readSync(dataId)), options);
  return onProxyBackend(() =>
    withMode(recording.mode, () =>
      patched([...tracingPatches(recording), ...(patches?.(recording.recorder) ?? [])], () => {
        runBody(recording, body);
        return recording.finish();
      }),
    ),
  );
}

function runBody({ recorder, builder, failure }: RecordingInProgress, body: (recorder: Recorder) => Recorded): void {
  const engine = tf.engine();
  engine.startScope();
  try {
    const { outputs } = body(recorder);
    for (const [name, tensor] of outputs) builder.addOutput(name, recorder.valueOf(tensor));
  } finally {
    engine.endScope();
  }
  // An asynchronous body swallows the error into a promise nobody waits for.
  const error = failure();
  if (error !== undefined) throw error;
}

function tracingPatches(recording: RecordingInProgress): (() => () => void)[] {
  const engine = tf.engine();
  return [
    patchLayerScopes,
    ...variablePrototypes().map(
      (prototype) => () =>
        patch(
          prototype,
          'assign',
          () =>
            function (this: tf.Variable, value: tf.Tensor) {
              recording.assign(this, value);
            },
        ),
    ),
    () => patch(engine, 'readSync', (read) => (dataId) => read.call(engine, refuseVariable(recording, dataId))),
    () => patch(engine, 'read', (read) => (dataId) => read.call(engine, refuseVariable(recording, dataId))),
    () => patch(engine, 'runKernel', (run) => refuseUnknownKernels(run.bind(engine))),
  ];
}

/** A process may hold several copies of tfjs-core, each with its own class; they share one engine. */
function variablePrototypes(): tf.Variable[] {
  const existing = Object.values(tf.engine().registeredVariables);
  return [...new Set<tf.Variable>([tf.Variable.prototype, ...existing.map((each) => Object.getPrototypeOf(each))])];
}

/** The values of a variable change from step to step: a traced model must not read them. */
function refuseVariable(recording: RecordingInProgress, dataId: object): object {
  const isVariable = Object.values(tf.engine().registeredVariables).some((variable) => variable.dataId === dataId);
  if (!isVariable || proxies.get(dataId)?.initializer !== undefined) return dataId;
  const error = dataReadError();
  recording.mode.failed(error);
  throw error;
}

type RunKernel = ReturnType<typeof tf.engine>['runKernel'];

/** tfjs's own error for a kernel nobody registered names neither the layer nor the user's line. */
function refuseUnknownKernels(run: RunKernel): RunKernel {
  return (kernel, inputs, attrs) => {
    if (tf.engine().backendName === PROXY_BACKEND && tf.getKernel(kernel, PROXY_BACKEND) == null) {
      throw unknownKernel(kernel);
    }
    return run(kernel, inputs, attrs);
  };
}

function toHostData(values: ReturnType<ReturnType<typeof tf.engine>['readSync']>): HostData {
  if (values instanceof Int32Array) return Int32Array.from(values);
  if (values instanceof Uint8Array) return Uint8Array.from(values);
  return Float32Array.from(values as Float32Array);
}
