/** Tracing an ordinary function of tensors to a graph, for merak.jit. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { checkGraph } from '../graph/check.js';
import { dropUnusedParameters, eliminateDeadNodes } from '../graph/clean.js';
import type { Attrs, Graph } from '../graph/graph.js';
import { raiseMultinomial } from './multinomial.js';
import { noiseLayerPatches } from './noiseLayers.js';
import { placeRandomNodes, raiseDropout, refuseRandomConstants } from './randomness.js';
import { type RecordAllOptions, type Recorder, type Recording, recordAll } from './record.js';
import type { DynamicCall } from './recording.js';
import { DYNAMIC_RULES } from './rules/dynamic.js';
import type { RuleInputs, TensorSpec } from './rules/rule.js';

/** Calls the user's function on proxies of `inputs`, in order; gives the tensors it returned. */
export type FunctionBody = (inputs: readonly tf.Tensor[]) => readonly tf.Tensor[];

/** A dynamic call that the function cannot go on without: its bounded outputs are the graph's outputs. */
export interface Pause {
  readonly kernel: string;
  readonly inputs: RuleInputs;
  readonly attrs: Attrs;
}

export interface FunctionTrace {
  /**
   * Inputs `input/0`, ..., then `dynamic/<call>/<output>` for the results of dynamic calls that are known. Outputs
   * `output/0`, ...: the function's results, or those of the call it pauses at.
   */
  readonly graph: Graph;
  /** In step with `graph.parameters`. */
  readonly variables: readonly tf.Variable[];
  readonly pause?: Pause;
  /** Variables the function made, with their initial values as outputs of `creationGraph`. */
  readonly created: readonly tf.Variable[];
  readonly creationGraph?: { readonly graph: Graph; readonly variables: readonly tf.Variable[] };
}

export interface FunctionTraceOptions {
  readonly inputs: readonly TensorSpec[];
  /** Output types of the dynamic calls made so far, in order of call. */
  readonly dynamicOutputs: readonly (readonly TensorSpec[])[];
  readonly patches?: RecordAllOptions['patches'];
}

/** Thrown through the user's function to leave it at a dynamic call. */
class PauseSignal extends Error {
  constructor(
    readonly pause: Pause,
    readonly outputs: readonly tf.Tensor[],
  ) {
    super(`${pause.kernel} must run before its output shapes are known`);
  }
}

/**
 * One run of the function on proxies. Variables it assigns keep their values; those it creates exist afterwards, without
 * data. Raises trace/data-read, trace/unknown-kernel, trace/random-constant, trace/model.
 */
export function traceFunction(body: FunctionBody, options: FunctionTraceOptions): FunctionTrace {
  const first = recordFunction(body, options);
  if (first.created.length > 0) return first;
  const raised = raiseDropout(first.recording);
  // Numbers drawn while tracing must be the same in a second trace (a seeded op): else every run would repeat them.
  if (raised.left.length > 0) refuseRandomConstants(raised, raiseDropout(recordFunction(body, options).recording));
  const { graph, kept } = dropUnusedParameters(placeRandomNodes(eliminateDeadNodes(raised.graph)));
  return {
    ...first,
    graph: checkGraph(graph),
    variables: kept.map((index) => first.recording.variables[index]!),
  };
}

interface Recorded extends FunctionTrace {
  readonly recording: Recording;
}

function recordFunction(body: FunctionBody, { inputs, dynamicOutputs, patches }: FunctionTraceOptions): Recorded {
  const existing = new Set(Object.values(tf.engine().registeredVariables));
  let pause: Pause | undefined;
  let creation: Recorded['creationGraph'];
  let created: tf.Variable[] = [];
  let recorderInUse: Recorder | undefined;

  function dynamic(call: DynamicCall): readonly TensorSpec[] {
    const known = dynamicOutputs[call.index];
    if (known !== undefined) return known;
    throw pauseAt(call, recorderInUse!);
  }

  try {
    const recording = recordAll(
      (recorder) => {
        recorderInUse = recorder;
        const proxies = inputs.map(({ shape, dtype }, index) => recorder.input(`input/${index}`, shape, dtype));
        let outputs: readonly tf.Tensor[];
        try {
          outputs = body(proxies);
        } catch (error) {
          if (!(error instanceof PauseSignal)) throw error;
          ({ pause, outputs } = error);
        }
        created = Object.values(tf.engine().registeredVariables).filter((variable) => !existing.has(variable));
        const initial = created.map((variable) => recorder.tensorOf(recorder.initialValueOf(variable)));
        return { outputs: [...outputs, ...initial].map((tensor, index) => [`output/${index}`, tensor] as const) };
      },
      {
        allowsCreation: true,
        dynamic,
        patches: (recorder) => [...noiseLayerPatches(), ...(patches?.(recorder) ?? [])],
      },
    );
    const numOutputs = recording.graph.outputs.length - created.length;
    const updates = pause === undefined ? recording.graph.updates : [];
    if (created.length > 0) creation = creationOf(recording, numOutputs);
    const outputs = recording.graph.outputs.slice(0, numOutputs);
    const graph = raiseMultinomial({ ...recording.graph, outputs, updates });
    return {
      recording: { ...recording, graph },
      graph,
      variables: [],
      created,
      ...(pause === undefined ? {} : { pause }),
      ...(creation === undefined ? {} : { creationGraph: creation }),
    };
  } catch (error) {
    // They have no data and never will.
    for (const variable of Object.values(tf.engine().registeredVariables)) {
      if (!existing.has(variable)) variable.dispose();
    }
    throw error;
  }
}

function creationOf({ graph, variables }: Recording, numOutputs: number): FunctionTrace['creationGraph'] {
  const initial = { ...graph, outputs: graph.outputs.slice(numOutputs), updates: [] };
  const { graph: reduced, kept } = dropUnusedParameters(placeRandomNodes(eliminateDeadNodes(initial)));
  return { graph: checkGraph(reduced), variables: kept.map((index) => variables[index]!) };
}

function pauseAt({ kernel, inputs, inputValues, attrs }: DynamicCall, recorder: Recorder): Error {
  const rule = DYNAMIC_RULES[kernel];
  if (rule === undefined) throw new MerakError('trace/dynamic-shape', `no bounded form of ${kernel}`);
  const outputs = recorder.addNode({
    kernel,
    inputs: inputValues,
    inputNames: Object.keys(inputs),
    outputs: rule.bounded(inputs, attrs).map(({ shape, dtype }) => ({ shape, dtype })),
    attrs,
  });
  return new PauseSignal(
    { kernel, inputs, attrs },
    outputs.map((value) => recorder.tensorOf(value)),
  );
}
