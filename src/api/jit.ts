/** merak.jit: an ordinary tfjs function, traced once per signature and run on the native engine. */
import { availableParallelism } from 'node:os';
import * as tf from '@tensorflow/tfjs';
import { patchTapeGradients } from '../autodiff/tape.js';
import { MerakError } from '../errors.js';
import { optimizeGraph } from '../graph/passes/optimize.js';
import { setRandomContext } from '../kernels/randomContext.js';
import type { HostArray } from '../runtime/device.js';
import { loadAddon } from '../runtime/native/addon.js';
import { dynamicInputName } from '../trace/recording.js';
import { DYNAMIC_RULES } from '../trace/rules/dynamic.js';
import { type TensorSpec, toDType } from '../trace/rules/rule.js';
import { type FunctionTrace, type Pause, traceFunction } from '../trace/traceFunction.js';
import { checkMaxPrograms, LeastRecentlyUsed } from './jit/cache.js';
import { readTensor, toTensor, writeVariable } from './jit/hostData.js';
import { inTurn } from './jit/queue.js';
import { openRunner, type Runner } from './jit/runner.js';
import { type Flattened, flatten, signatureOf, type Tree, unflatten } from './jit/tree.js';

export interface JitOptions {
  /** Keys the numbers that merak.nn's random ops draw; each call draws anew. Default 0. */
  readonly seed?: number;
  /** Engine threads; default: all of the machine's. */
  readonly threads?: number;
  /** Compiled signatures kept at once (default 64): the longest unused one is freed, and compiled again when called. */
  readonly maxPrograms?: number;
}

export interface JitFunction<Args extends readonly unknown[], Result> {
  (...args: Args): Promise<Result>;
  /** How often the function has been traced: once per signature (and once more where it makes variables). */
  readonly numTraces: number;
  /** Kernels that ran on tfjs instead of the native engine, sorted. */
  readonly fallbackKernels: readonly string[];
  /** Frees compiled programs. The variables are the caller's. */
  dispose(): void;
}

/** A trace that can be run. */
interface Compiled {
  readonly runner: Runner;
  readonly trace: FunctionTrace;
  readonly result: Tree;
}

/**
 * Runs `fn` on the native engine. Arguments and result may nest tensors in arrays and records; numbers, strings and
 * booleans among the arguments are part of the signature. `fn` is called on proxies, once per structure, shapes, dtypes and
 * plain arguments: what it does beside tensor ops happens then only. Variables it uses are read when they have changed and
 * assigned in place; those it creates on its first call (an optimizer's) exist from then on. Calls run one after the other.
 *
 * tf.grad, tf.variableGrads and optimizer.minimize inside `fn` are recorded with Merak's gradients where tfjs's are wrong
 * or missing. A kernel without a native version runs on tfjs, with one warning naming it.
 *
 * @throws MerakError trace/data-read, trace/random-constant, trace/model, engine/kernel (rejections)
 * @example
 * const attend = merak.jit((q: tf.Tensor, k: tf.Tensor) => tf.softmax(tf.matMul(q, k, false, true)));
 * const weights = await attend(tf.randomNormal([8, 64]), tf.randomNormal([32, 64]));
 */
export function jit<Args extends readonly unknown[], Result>(
  fn: (...args: Args) => Result,
  { seed = 0, threads = availableParallelism(), maxPrograms = 64 }: JitOptions = {},
): JitFunction<Args, Awaited<Result>> {
  const compiled = new LeastRecentlyUsed<Compiled | 'eager'>(
    checkMaxPrograms(maxPrograms, 'jit options'),
    (program) => {
      if (program !== 'eager') program.runner.close();
    },
  );
  const fallbackKernels = new Set<string>();
  let numTraces = 0;
  let numCalls = 0;

  function trace(args: Flattened, dynamicOutputs: readonly (readonly TensorSpec[])[]) {
    let result: Tree = { kind: 'plain', value: undefined };
    numTraces++;
    const traced = traceFunction(
      (inputs) => {
        const flat = flatten(fn(...(unflatten(args.tree, inputs) as unknown as Args)), 'result', true);
        result = flat.tree;
        return flat.tensors;
      },
      { inputs: args.tensors.map(specOf), dynamicOutputs, patches: () => [patchTapeGradients] },
    );
    return { traced, result };
  }

  async function compile(
    args: Flattened,
    inputs: ReadonlyMap<string, HostArray>,
    dynamicOutputs: readonly (readonly TensorSpec[])[],
    step: number,
  ): Promise<Compiled | 'eager'> {
    try {
      loadAddon();
      let { traced, result } = trace(args, dynamicOutputs);
      if (traced.created.length > 0) {
        await initialise(traced, inputs, { seed, step }, threads);
        ({ traced, result } = trace(args, dynamicOutputs));
        if (traced.created.length > 0) throw createsAgain(traced.created);
      }
      const graph = optimizeGraph(traced.graph);
      const runner = await openRunner(graph, traced.variables, threads);
      noteFallback(runner.fallbackKernels);
      return { runner, trace: { ...traced, graph }, result };
    } catch (error) {
      if (!(error instanceof MerakError)) throw error;
      if (error.code !== 'trace/unknown-kernel' && error.code !== 'engine/unsupported') throw error;
      warn(`a jitted function runs on tfjs as a whole: ${error.message}`);
      return 'eager';
    }
  }

  function noteFallback(kernels: readonly string[]): void {
    const fresh = kernels.filter((kernel) => !fallbackKernels.has(kernel));
    for (const kernel of fresh) fallbackKernels.add(kernel);
    if (fresh.length > 0) warn(`kernels of a jitted function that run on tfjs, not natively: ${fresh.join(', ')}`);
  }

  async function run(args: Flattened, data: Promise<readonly HostArray[]>): Promise<unknown> {
    const step = numCalls++;
    const inputs = new Map((await data).map((array, index) => [`input/${index}`, array]));
    const signature = signatureOf(args);
    const dynamicOutputs: (readonly TensorSpec[])[] = [];
    for (;;) {
      const key = dynamicOutputs.length === 0 ? signature : `${signature} ${JSON.stringify(dynamicOutputs)}`;
      const known = compiled.get(key);
      const program = known ?? (await compile(args, inputs, dynamicOutputs, step));
      if (known === undefined) compiled.set(key, program);
      if (program === 'eager') return runEagerly(fn, args, inputs, { seed, step });
      const { runner, trace: traced, result } = program;
      const { outputs, updates } = await runner.run(inputs, { seed, step });
      const named = traced.graph.outputs.map(({ name, value }) => ({ data: outputs.get(name)!, value }));
      if (traced.pause !== undefined) {
        const index = dynamicOutputs.length;
        const { specs, arrays } = cutToCount(
          traced.pause,
          named.map((output) => output.data),
        );
        for (const [output, array] of arrays.entries()) inputs.set(dynamicInputName(index, output), array);
        dynamicOutputs.push(specs);
        continue;
      }
      for (const [parameter, array] of updates) writeVariable(traced.variables[parameter]!, array);
      runner.written();
      const tensors = named.map((output) => toTensor(output.data, traced.graph.values[output.value]!));
      return unflatten(result, tensors);
    }
  }

  const call = (...args: Args): Promise<Awaited<Result>> => {
    try {
      const flat = flatten([...args], 'arguments');
      for (const tensor of flat.tensors) toDType(tensor.dtype);
      // Read at once: the caller may dispose its tensors while the call waits its turn.
      const data = Promise.all(flat.tensors.map(readTensor));
      data.catch(() => {});
      return inTurn(() => run(flat, data)) as Promise<Awaited<Result>>;
    } catch (error) {
      return Promise.reject(error);
    }
  };
  return Object.defineProperties(call, {
    numTraces: { get: () => numTraces },
    fallbackKernels: { get: () => [...fallbackKernels].sort() },
    dispose: {
      value() {
        compiled.clear();
      },
    },
  }) as JitFunction<Args, Awaited<Result>>;
}

function specOf({ shape, dtype }: tf.Tensor): TensorSpec {
  return { shape: [...shape], dtype: toDType(dtype) };
}

/** Computes the initial values of the variables a trace made, and gives them data. */
async function initialise(
  { created, creationGraph }: FunctionTrace,
  inputs: ReadonlyMap<string, HostArray>,
  key: { seed: number; step: number },
  threads: number,
): Promise<void> {
  if (creationGraph === undefined) return;
  const { graph, variables } = creationGraph;
  const runner = await openRunner(graph, variables, threads);
  try {
    const { outputs } = await runner.run(inputs, key);
    for (const [index, variable] of created.entries()) {
      writeVariable(variable, outputs.get(graph.outputs[index]!.name)!);
    }
  } finally {
    runner.close();
  }
}

function createsAgain(created: readonly tf.Variable[]): MerakError {
  const names = created.map(({ name }) => name).join(', ');
  for (const variable of created) variable.dispose();
  return new MerakError('trace/model', 'a jitted function creates variables each time it is called', {
    received: names,
    hint: 'create variables outside, or once and keep them; use tf.tensor for intermediate values',
  });
}

/** A dynamic kernel's results from those of its bounded form, whose last output counts. */
function cutToCount(
  { kernel, inputs, attrs }: Pause,
  bounded: readonly HostArray[],
): { specs: readonly TensorSpec[]; arrays: readonly HostArray[] } {
  const count = bounded.at(-1)?.[0] ?? 0;
  const specs = DYNAMIC_RULES[kernel]!.actual(inputs, attrs, count);
  const arrays = specs.map(({ shape }, index) => bounded[index]!.slice(0, tf.util.sizeFromShape([...shape])));
  return { specs, arrays };
}

/** The function itself on tfjs's current backend. */
function runEagerly<Args extends readonly unknown[]>(
  fn: (...args: Args) => unknown,
  { tree, tensors }: Flattened,
  inputs: ReadonlyMap<string, HostArray>,
  key: { seed: number; step: number },
): unknown {
  const previous = setRandomContext({ ...key, microBatch: 0 });
  try {
    return tf.tidy(() => {
      const given = tensors.map((tensor, index) => toTensor(inputs.get(`input/${index}`)!, specOf(tensor)));
      return fn(...(unflatten(tree, given) as unknown as Args)) as tf.TensorContainer;
    });
  } finally {
    setRandomContext(previous);
  }
}

function warn(message: string): void {
  process.emitWarning(message, { type: 'MerakWarning', code: 'MERAK_FALLBACK' });
}
