/** A recording in progress: maps tfjs's tensors and variables to graph values, and kernel calls to nodes. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { type GraphBuilder, graphBuilder } from '../graph/builder.js';
import type { DType, Graph, Initializer, ValueId } from '../graph/graph.js';
import { whereabouts } from './failure.js';
import { dataOf, initializerOf } from './initializers.js';
import type { KernelCall, Mode } from './mode.js';
import { type HostData, makeProxy, proxies } from './proxy.js';
import { randomOp } from './randomOps.js';
import { toDType } from './rules/rule.js';
import { currentScope } from './scopes.js';
import { userSource } from './source.js';

/** A captured constant that tfjs drew at random while tracing. */
export interface RandomConstant {
  readonly op: string;
  readonly source?: string | undefined;
  readonly scope: string;
}

export interface Recording {
  readonly graph: Graph;
  /** In step with `graph.parameters`; undefined for those declared through `Recorder.parameter`. */
  readonly variables: readonly (tf.Variable | undefined)[];
  readonly randomConstants: ReadonlyMap<ValueId, RandomConstant>;
}

export interface ParameterOptions {
  readonly trainable?: boolean;
  readonly initializer?: Initializer;
}

/** What a recorded body builds its graph with. Kernel calls need nothing: they are recorded as they run. */
export interface Recorder {
  /** A batch field. */
  input(name: string, shape: readonly number[], dtype: DType): tf.Tensor;
  /** A parameter without a variable behind it. */
  parameter(name: string, shape: readonly number[], dtype: DType, options?: ParameterOptions): tf.Tensor;
  /** Declares a variable as parameter now, to fix its place and name; using it in a kernel does the same. */
  variable(variable: tf.Variable, name?: string, trainable?: boolean): ValueId;
  /** A tensor for a value of this graph. */
  tensorOf(value: ValueId): tf.Tensor;
  /** The value a tensor is in this graph; tensors from outside become constants, variables parameters. */
  valueOf(tensor: tf.Tensor): ValueId;
}

export interface RecordingInProgress {
  readonly mode: Mode;
  readonly recorder: Recorder;
  readonly builder: GraphBuilder;
  /** `variable := value` instead of an assignment. */
  assign(variable: tf.Variable, value: tf.Tensor): void;
  failure(): Error | undefined;
  finish(): Recording;
}

/** `readReal` reads the data of a tensor of a real backend. */
export function startRecording(readReal: (dataId: object) => HostData): RecordingInProgress {
  const builder = graphBuilder();
  const key = {};
  const parameters = new Map<tf.Variable, { readonly index: number; readonly value: ValueId }>();
  const variables: (tf.Variable | undefined)[] = [];
  const names = new Set<string>();
  const assigned = new Map<tf.Variable, ValueId>();
  const captured = new WeakMap<object, ValueId>();
  const randomConstants = new Map<ValueId, RandomConstant>();
  const created = new WeakSet<object>();
  let failure: Error | undefined;

  function newTensor(value: ValueId): tf.Tensor {
    const { shape, dtype } = builder.value(value);
    const engine = tf.engine();
    return engine.makeTensorFromTensorInfo({ dataId: newDataId(value), shape: [...shape], dtype }, engine.backend);
  }

  function newDataId(value: ValueId): object {
    const { shape, dtype } = builder.value(value);
    const dataId = makeProxy({ shape, dtype });
    proxies.get(dataId)?.values.set(key, value);
    created.add(dataId);
    return dataId;
  }

  function declare(variable: tf.Variable, name = variable.name, trainable = variable.trainable): ValueId {
    const known = parameters.get(variable);
    if (known !== undefined) return known.value;
    if (created.has(variable.dataId)) {
      throw modelError(`the variable "${variable.name}" is created while the model runs`, {
        hint: 'create variables once, outside the loss function, and build tf.layers models before wrapping them',
      });
    }
    const index = variables.length;
    const shape = { shape: variable.shape, dtype: toDType(variable.dtype) };
    const value = builder.addParameter(uniqueName(name), shape, trainable, initializerOf(variable));
    variables.push(variable);
    parameters.set(variable, { index, value });
    return value;
  }

  function uniqueName(name: string): string {
    let unique = name;
    for (let count = 1; names.has(unique); count++) unique = `${name}_${count}`;
    names.add(unique);
    return unique;
  }

  function valueIdOf(tensor: tf.TensorInfo): ValueId {
    if (tensor instanceof tf.Variable) return assigned.get(tensor) ?? declare(tensor);
    const proxy = proxies.get(tensor.dataId);
    if (proxy === undefined) return captureReal(tensor);
    const known = proxy.values.get(key);
    if (known !== undefined) return known;
    const data = dataOf(proxy);
    if (data === undefined) {
      throw modelError('the model uses a tensor that belongs to another trace', {
        hint: 'keep tensors made inside a traced function inside it',
      });
    }
    const value = addConstant(tensor, data);
    if (proxy.random !== undefined) {
      randomConstants.set(value, { op: proxy.random, source: proxy.source, scope: currentScope() });
    }
    proxy.values.set(key, value);
    return value;
  }

  function captureReal(tensor: tf.TensorInfo): ValueId {
    const known = captured.get(tensor.dataId);
    if (known !== undefined) return known;
    const value = addConstant(tensor, readReal(tensor.dataId));
    captured.set(tensor.dataId, value);
    return value;
  }

  function addConstant({ shape, dtype }: tf.TensorInfo, data: HostData): ValueId {
    return builder.addConstant({ shape, dtype: toDType(dtype) }, data);
  }

  const mode: Mode = {
    run({ kernel, inputs, attrs, outputs }: KernelCall): object[] {
      const ids = builder.addNode({
        kernel,
        inputs: inputs.map(([, tensor]) => valueIdOf(tensor)),
        inputNames: inputs.map(([name]) => name),
        outputs,
        attrs,
        scope: currentScope(),
        source: userSource(),
      });
      return ids.map(newDataId);
    },
    write(data, shape, dtype) {
      const random = randomOp();
      const source = userSource();
      const dataId = makeProxy({
        shape: [...shape],
        dtype,
        data,
        ...(random === undefined ? {} : { random }),
        ...(source === undefined ? {} : { source }),
      });
      created.add(dataId);
      return dataId;
    },
    scope: currentScope,
    failed(error) {
      failure ??= error;
    },
  };

  return {
    mode,
    builder,
    recorder: {
      input: (name, shape, dtype) => newTensor(builder.addInput(name, { shape, dtype })),
      parameter(name, shape, dtype, { trainable = true, initializer } = {}) {
        variables.push(undefined);
        return newTensor(builder.addParameter(uniqueName(name), { shape, dtype }, trainable, initializer));
      },
      variable: declare,
      tensorOf: newTensor,
      valueOf: valueIdOf,
    },
    assign(variable, value) {
      if (value.dtype !== variable.dtype || value.shape.join() !== variable.shape.join()) {
        throw modelError(`a value of another shape or dtype is assigned to the variable "${variable.name}"`, {
          expected: `${variable.dtype}[${variable.shape.join(', ')}]`,
          received: `${value.dtype}[${value.shape.join(', ')}]`,
        });
      }
      declare(variable);
      assigned.set(variable, valueIdOf(value));
    },
    failure: () => failure,
    finish() {
      for (const [variable, value] of assigned) builder.addUpdate(parameters.get(variable)!.index, value);
      return { graph: builder.build(), variables, randomConstants };
    },
  };
}

function modelError(message: string, details: { hint?: string; expected?: string; received?: string }): MerakError {
  const path = whereabouts(userSource(), currentScope());
  return new MerakError('trace/model', message, { ...details, ...(path === '' ? {} : { path }) });
}
