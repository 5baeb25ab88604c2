/** A recording in progress: maps tfjs's tensors and variables to graph values, and kernel calls to nodes. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { type GraphBuilder, graphBuilder, type NewNode } from '../graph/builder.js';
import type { Attrs, DType, Graph, Initializer, ValueId } from '../graph/graph.js';
import { requestedName } from '../nn/variable.js';
import { whereabouts } from './failure.js';
import { dataOf, initializerOf } from './initializers.js';
import type { KernelCall, Mode } from './mode.js';
import { type HostData, makeProxy, proxies } from './proxy.js';
import { randomOp } from './randomOps.js';
import { type RuleInputs, type TensorSpec, toDType } from './rules/rule.js';
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

export interface RecordingOptions {
  /** A variable created while recording stands for its initial value, instead of being refused. */
  readonly allowsCreation?: boolean;
  /** Called when a kernel's output shapes depend on data; without it such kernels are refused. */
  readonly dynamic?: (call: DynamicCall) => readonly TensorSpec[];
  /** Whether nodes bear the line of the user's code that made them (default true): finding it takes longer than the node. */
  readonly namesSources?: boolean;
}

/** The `index`-th call, counted from 0, of a kernel whose output shapes depend on data. */
export interface DynamicCall {
  readonly index: number;
  readonly kernel: string;
  readonly inputs: RuleInputs;
  readonly inputValues: readonly ValueId[];
  readonly attrs: Attrs;
}

/** The graph input that stands for output `output` of the dynamic call `index`. */
export function dynamicInputName(index: number, output: number): string {
  return `dynamic/${index}/${output}`;
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
  /** What a variable held before any assignment. */
  initialValueOf(variable: tf.Variable): ValueId;
  /** Adds a node that no kernel call made. */
  addNode(node: NewNode): ValueId[];
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
export function startRecording(
  readReal: (dataId: object) => HostData,
  options: RecordingOptions = {},
): RecordingInProgress {
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

  function declare(variable: tf.Variable, name = requestedName(variable), trainable = variable.trainable): ValueId {
    const known = parameters.get(variable);
    if (known !== undefined) return known.value;
    if (created.has(variable.dataId)) {
      if (options.allowsCreation === true) return initialValueOf(variable);
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

  /** The variable's own dataId stays what it was created with: assignments are recorded beside it. */
  function initialValueOf({ dataId, shape, dtype }: tf.Variable): ValueId {
    return valueIdOf({ dataId, shape, dtype });
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

  const { dynamic, namesSources = true } = options;
  let numDynamic = 0;

  const mode: Mode = {
    ...(dynamic === undefined
      ? {}
      : {
          dynamic({ kernel, inputs, attrs }: Omit<KernelCall, 'outputs'>): tf.TensorInfo[] {
            const index = numDynamic++;
            const specs = Object.fromEntries(
              inputs.map(([name, { shape, dtype }]) => [name, { shape, dtype: toDType(dtype) }]),
            );
            const inputValues = inputs.map(([, tensor]) => valueIdOf(tensor));
            return dynamic({ index, kernel, inputs: specs, inputValues, attrs }).map(({ shape, dtype }, output) => {
              const value = builder.addInput(dynamicInputName(index, output), { shape, dtype });
              return { dataId: newDataId(value), shape: [...shape], dtype };
            });
          },
        }),
    run({ kernel, inputs, attrs, outputs }: KernelCall): object[] {
      const ids = builder.addNode({
        kernel,
        inputs: inputs.map(([, tensor]) => valueIdOf(tensor)),
        inputNames: inputs.map(([name]) => name),
        outputs,
        attrs,
        scope: currentScope(),
        source: namesSources ? userSource() : undefined,
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
      initialValueOf,
      addNode: (node) => builder.addNode(node),
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
      for (const [variable, value] of assigned) {
        const parameter = parameters.get(variable);
        // One created meanwhile is no parameter yet.
        if (parameter !== undefined) builder.addUpdate(parameter.index, value);
      }
      return { graph: builder.build(), variables, randomConstants };
    },
  };
}

function modelError(message: string, details: { hint?: string; expected?: string; received?: string }): MerakError {
  const path = whereabouts(userSource(), currentScope());
  return new MerakError('trace/model', message, { ...details, ...(path === '' ? {} : { path }) });
}
