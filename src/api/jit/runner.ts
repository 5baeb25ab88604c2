/** Running a traced graph: whole on the native engine, or in parts where the engine lacks a kernel. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import type { Graph, Node, ValueId } from '../../graph/graph.js';
import { replayNode } from '../../graph/replay.js';
import { setRandomContext } from '../../kernels/randomContext.js';
import { ensureKernels } from '../../kernels/register.js';
import { buildFunction, FUNCTION_EXECUTABLE } from '../../planner/buildFunction.js';
import { type Part, partitionGraph, valueName } from '../../planner/fallback.js';
import type { HostArray } from '../../runtime/device.js';
import { loadAddon } from '../../runtime/native/addon.js';
import { NativeDevice } from '../../runtime/native/device.js';
import { onBackend } from '../../trace/backend.js';
import { asDType, readTensor, toTensor } from './hostData.js';

/** What keys the random numbers of a run. */
export interface RunKey {
  readonly seed: number;
  readonly step: number;
}

export interface RunResult {
  readonly outputs: ReadonlyMap<string, HostArray>;
  /** New contents of variables, by index into the graph's parameters. */
  readonly updates: ReadonlyMap<number, HostArray>;
}

export interface Runner {
  /** `inputs` by name. */
  run(inputs: ReadonlyMap<string, HostArray>, key: RunKey): Promise<RunResult>;
  /** The variables now hold what the last run computed: it need not be sent again. */
  written(): void;
  /** Kernels that ran outside the native engine, sorted. */
  readonly fallbackKernels: readonly string[];
  close(): void;
}

/** Longest wait for a peer: a function has none. */
const TIMEOUT_SECONDS = 3600;

/** `variables` in step with `graph.parameters`. Raises engine/unsupported when there is no addon. */
export async function openRunner(graph: Graph, variables: readonly tf.Variable[], threads: number): Promise<Runner> {
  const known = new Set(loadAddon().kernelNames());
  if (graph.nodes.every(({ kernel }) => known.has(kernel))) {
    try {
      return await nativeRunner(graph, variables, threads);
    } catch (error) {
      // The engine has the kernel, but not for these types or attributes.
      if (!(error instanceof MerakError) || error.code !== 'engine/unsupported') throw error;
    }
  }
  return partitionedRunner(graph, variables, threads);
}

async function nativeRunner(graph: Graph, variables: readonly tf.Variable[], threads: number): Promise<Runner> {
  const { rank, executable } = buildFunction(graph);
  const device = new NativeDevice({ threads });
  try {
    await device.open(rank);
    await device.load(executable);
  } catch (error) {
    device.close();
    throw error;
  }
  // A variable gets a new dataId with every assignment.
  const sent: (object | undefined)[] = variables.map(() => undefined);
  const updated = graph.updates.map(({ parameter }) => parameter);
  return {
    fallbackKernels: [],
    async run(inputs, { seed, step }) {
      for (const [index, variable] of variables.entries()) {
        if (sent[index] === variable.dataId) continue;
        const { dataId } = variable;
        // A bool parameter is bytes to the engine.
        await device.write(index, 'value', (await readTensor(variable)) as Float32Array);
        sent[index] = dataId;
      }
      // From here on the engine's copies differ from the variables, until `written`.
      for (const parameter of updated) sent[parameter] = undefined;
      const result = await device.run(FUNCTION_EXECUTABLE, {
        step,
        seed,
        learningRate: 0,
        inputs,
        timeoutSeconds: TIMEOUT_SECONDS,
      });
      const updates = new Map<number, HostArray>();
      for (const parameter of updated) updates.set(parameter, await device.read(parameter, 'value'));
      return { outputs: result.outputs, updates };
    },
    written() {
      for (const parameter of updated) sent[parameter] = variables[parameter]!.dataId;
    },
    close: () => device.close(),
  };
}

type OpenPart = { readonly part: Part; readonly runner?: Runner };

async function partitionedRunner(graph: Graph, variables: readonly tf.Variable[], threads: number): Promise<Runner> {
  const addon = loadAddon();
  const typeOf = (id: ValueId) => graph.values[id]!;
  const isHost = ({ kernel, inputs, inputNames, outputs, attrs, scope }: Node) => {
    const node = { kernel, inputs: inputs.map(typeOf), inputNames, outputs: outputs.map(typeOf), attrs, scope };
    return addon.supports(node) !== '';
  };
  const { parts } = partitionGraph(graph, isHost);
  const opened: OpenPart[] = [];
  for (const part of parts) {
    opened.push(part.kind === 'host' ? { part } : { part, runner: await nativeRunner(part.graph, [], threads) });
  }
  const host = parts.flatMap((part) => (part.kind === 'host' ? [part.node.kernel] : []));
  return {
    fallbackKernels: [...new Set(host)].sort(),
    async run(inputs, key) {
      const values = new Map<ValueId, HostArray>(graph.constants.map(({ value, data }) => [value, data]));
      for (const { name, value } of graph.inputs) {
        const data = inputs.get(name);
        if (data !== undefined) values.set(value, data);
      }
      for (const [index, { value }] of graph.parameters.entries()) {
        values.set(value, await readTensor(variables[index]!));
      }
      const dataOf = (id: ValueId): HostArray => {
        const data = values.get(id);
        if (data === undefined) throw new MerakError('plan/invalid', `value ${id} is read but never made`);
        return data;
      };
      for (const { part, runner } of opened) {
        if (part.kind === 'host') {
          runOnTfjs(graph, part.node, part.inputs.map(dataOf), key).forEach((data, index) => {
            values.set(part.node.outputs[index]!, data);
          });
        } else if (runner !== undefined) {
          const given = new Map(part.graph.inputs.map(({ name, value }) => [name, dataOf(value)]));
          const { outputs } = await runner.run(given, key);
          for (const { value } of part.graph.outputs) values.set(value, outputs.get(valueName(value))!);
        }
      }
      return {
        outputs: new Map(graph.outputs.map(({ name, value }) => [name, dataOf(value)])),
        updates: new Map(graph.updates.map(({ parameter, value }) => [parameter, dataOf(value)])),
      };
    },
    written: () => {},
    close() {
      for (const { runner } of opened) runner?.close();
    },
  };
}

const FALLBACK_BACKEND = 'cpu';

/** One node on tfjs's CPU backend. Raises engine/unsupported where that lacks the kernel too. */
function runOnTfjs(graph: Graph, node: Node, inputs: readonly HostArray[], key: RunKey): HostArray[] {
  ensureKernels(FALLBACK_BACKEND);
  if (tf.getKernel(node.kernel, FALLBACK_BACKEND) == null) {
    throw new MerakError('engine/unsupported', `neither the native engine nor tfjs runs ${node.kernel}`, {
      path: node.scope,
    });
  }
  const previous = setRandomContext({ ...key, microBatch: 0 });
  try {
    return onBackend(FALLBACK_BACKEND, () => {
      tf.engine().startScope();
      try {
        const tensors = node.inputs.map((id, index) => toTensor(inputs[index]!, graph.values[id]!));
        // A copy: the CPU backend lets tensors share arrays.
        return replayNode(node, tensors).map((tensor, index) =>
          asDType(tensor.dataSync().slice(), graph.values[node.outputs[index]!]!.dtype),
        );
      } finally {
        tf.engine().endScope();
      }
    });
  } finally {
    setRandomContext(previous);
  }
}
