/** A function of a group: compiled once per signature for every shard, then one command per worker and call. */
import type * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import type { HostArray, StepResult } from '../../runtime/device.js';
import { type TensorSpec, toDType } from '../../trace/rules/rule.js';
import type { DeviceName } from '../device.js';
import { LeastRecentlyUsed } from '../jit/cache.js';
import { readTensor, toTensor } from '../jit/hostData.js';
import { type Flattened, flatten, signatureOf, type Tree, unflatten } from '../jit/tree.js';
import { joinShards, type Placement, type PlacementTree, placementsOf, rangeOf, takeRange } from './placement.js';
import { type SpmdState, type StateHost, stateArray, stateDtype } from './state.js';
import { checkNative, type ShardTrace, traceShards } from './trace.js';
import type { ShardedProgram, StateRecord } from './workers.js';

export interface SpmdFunctionOptions {
  /** Of the arguments: one placement for all, or a list with one (or the argument's own structure of them) per argument. */
  readonly in?: PlacementTree;
  /** Of the result. `shard` joins the workers' parts in order; `replicate` takes worker 0's, which all should share. */
  readonly out?: PlacementTree;
}

export interface SpmdFunction<Args extends readonly unknown[], Result> {
  (...args: Args): Promise<Awaited<Result>>;
  /** How often the function has been traced, counting a trace on every shard as one. */
  readonly numTraces: number;
  /** Frees its compiled programs. */
  dispose(): Promise<void>;
}

/** An ordinary variable that functions of the group read: each worker has a copy, sent again when it has changed. */
export interface CapturedVariable {
  readonly state: StateRecord;
  sent: object | undefined;
}

export interface GroupContext {
  readonly host: StateHost;
  readonly device: DeviceName;
  readonly states: ReadonlyMap<string, SpmdState>;
  readonly captured: Map<tf.Variable, CapturedVariable>;
}

interface Compiled {
  readonly key: string;
  readonly program: ShardedProgram;
  readonly captured: readonly tf.Variable[];
  readonly result: Tree;
  /** By output, then by rank. */
  readonly outputs: readonly (readonly TensorSpec[])[];
  readonly outputPlacements: readonly Placement[];
}

let numFunctions = 0;

export function groupFunction<Args extends readonly unknown[], Result>(
  fn: (...args: Args) => Result,
  options: SpmdFunctionOptions,
  context: GroupContext,
): SpmdFunction<Args, Result> {
  const { host } = context;
  const { workers } = host;
  const { numShards, maxPrograms } = workers.options;
  const id = numFunctions++;
  const compiled = new LeastRecentlyUsed<Compiled>(maxPrograms, ({ key }) => workers.forget(key));
  let numTraces = 0;
  let numCalls = 0;

  function compile(args: Flattened, placements: readonly Placement[], key: string): Compiled {
    const inputs = args.tensors.map(({ shape, dtype }, index) => {
      return { shape, dtype: toDType(dtype), placement: placements[index]! };
    });
    numTraces++;
    const placementsOfResult = (result: Tree) => placementsOf(options.out, result, 'result');
    const call = (list: unknown) => fn(...(list as Args));
    const traces = traceShards(call, args.tree, inputs, workers, host, placementsOfResult);
    if (context.device === 'native') for (const { graph } of traces) checkNative(graph);
    const captured = new Set<tf.Variable>();
    const states = traces.map((trace, rank) =>
      trace.variables.map((variable) => stateOf(variable, rank, trace, captured, context)),
    );
    const [first] = traces;
    const outputPlacements = placementsOfResult(first!.result);
    const outputs = first!.outputs.map((_, index) => traces.map((trace) => trace.outputs[index]!));
    outputs.forEach((specs, index) => {
      checkOutput(specs, outputPlacements[index]!, index);
    });
    const program = { graphs: traces.map(({ graph }) => graph), states };
    return { key, program, captured: [...captured], result: first!.result, outputs, outputPlacements };
  }

  async function run(args: Flattened, placements: readonly Placement[], data: Promise<readonly HostArray[]>) {
    const step = numCalls++;
    const arrays = await data;
    const key = `${id} ${signatureOf(args)}`;
    let known = compiled.get(key);
    if (known === undefined) {
      known = compile(args, placements, key);
      compiled.set(key, known);
    }
    for (const variable of known.captured) await send(variable, context);
    const inputs = (rank: number): Map<string, HostArray> =>
      new Map(
        arrays.map((array, index) => {
          const [{ shape }, placement] = [args.tensors[index]!, placements[index]!];
          const range = rangeOf(placement, shape, numShards, rank, `tensor ${index} of the arguments`);
          const whole = placement.placement === 'replicate' || range === undefined;
          return [`input/${index}`, whole ? array : takeRange(array, shape, placement.dim, range)];
        }),
      );
    const results = await workers.run(known.key, known.program, inputs, step);
    return unflatten(known.result, outputTensors(known, results));
  }

  const call = (...args: Args): Promise<Awaited<Result>> => {
    try {
      const flat = flatten([...args], 'arguments');
      const placements = placementsOf(options.in, flat.tree, 'arguments');
      for (const [index, { shape, dtype }] of flat.tensors.entries()) {
        toDType(dtype);
        rangeOf(placements[index]!, shape, numShards, 0, `tensor ${index} of the arguments`);
      }
      // Read at once: the caller may dispose its tensors while the call waits its turn.
      const data = Promise.all(flat.tensors.map(readTensor));
      data.catch(() => {});
      return host.enqueue(() => run(flat, placements, data)) as Promise<Awaited<Result>>;
    } catch (error) {
      return Promise.reject(error);
    }
  };
  return Object.defineProperties(call, {
    numTraces: { get: () => numTraces },
    dispose: { value: () => host.enqueue(async () => compiled.clear()) },
  }) as SpmdFunction<Args, Result>;
}

/** The state that a variable of a trace is: a part of one, or an ordinary variable, copied to every worker. */
function stateOf(
  variable: tf.Variable,
  rank: number,
  { graph, variables }: ShardTrace,
  used: Set<tf.Variable>,
  { host, states, captured }: GroupContext,
): StateRecord {
  for (const state of states.values()) if (state.isValueOn(variable, rank)) return state;
  if (graph.updates.some(({ parameter }) => variables[parameter] === variable)) {
    throw new MerakError('trace/model', 'a function of a group assigns to an ordinary variable', {
      path: variable.name,
      hint: 'keep what changes on the workers in group.state(...), and assign to its value',
    });
  }
  used.add(variable);
  const known = captured.get(variable);
  if (known !== undefined) return known.state;
  const { name, shape, dtype } = variable;
  const state = { name, shape, dtype: stateDtype(name, dtype), placement: { placement: 'replicate' } } as const;
  host.workers.declare(state);
  captured.set(variable, { state, sent: undefined });
  return state;
}

/** A variable gets a new dataId with every assignment. */
async function send(variable: tf.Variable, { host, captured }: GroupContext): Promise<void> {
  const copy = captured.get(variable)!;
  if (copy.sent === variable.dataId) return;
  const { dataId } = variable;
  await host.workers.write(copy.state, await stateArray(variable));
  copy.sent = dataId;
}

function checkOutput(specs: readonly TensorSpec[], placement: Placement, index: number): void {
  const [first] = specs;
  const dim = placement.placement === 'shard' ? placement.dim : -1;
  const fits = specs.every(
    ({ shape, dtype }) =>
      dtype === first!.dtype &&
      shape.length === first!.shape.length &&
      dim < shape.length &&
      shape.every((size, d) => d === dim || size === first!.shape[d]),
  );
  if (fits) return;
  throw new MerakError('config/invalid', 'the shards of a result do not fit together', {
    path: `tensor ${index} of the result`,
    expected: dim < 0 ? 'the same shape on every shard (merak.replicate)' : `shapes that differ in dim ${dim} only`,
    received: specs.map(({ shape, dtype }) => `${dtype} [${shape.join(', ')}]`).join('; '),
    hint: 'say how the result lies on the shards: { out: ... }',
  });
}

function outputTensors({ outputs, outputPlacements }: Compiled, results: readonly StepResult[]): tf.Tensor[] {
  return outputs.map((specs, index) => {
    const placement = outputPlacements[index]!;
    const pieces = results.map((result) => result.outputs.get(`output/${index}`)!);
    const [spec] = specs;
    if (placement.placement === 'replicate') return toTensor(pieces[0]!, spec!);
    const { data, shape } = joinShards(
      pieces,
      specs.map((each) => each.shape),
      placement.dim,
    );
    return toTensor(data, { shape, dtype: spec!.dtype });
  });
}
