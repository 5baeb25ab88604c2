/** A forward graph with its weights on this process's native engine: what predicts without a worker group. */
import { availableParallelism } from 'node:os';
import { MerakError } from '../../errors.js';
import { valueBytes } from '../../graph/cost.js';
import type { Graph } from '../../graph/graph.js';
import { buildFunction, FUNCTION_EXECUTABLE } from '../../planner/buildFunction.js';
import type { HostArray, ParameterArray } from '../../runtime/device.js';
import { NativeDevice } from '../../runtime/native/device.js';

export interface InferenceEngine {
  /** One batch of the graph's own size, by input name; results by output name. */
  run(inputs: ReadonlyMap<string, HostArray>): Promise<ReadonlyMap<string, HostArray>>;
  /** Seconds by kernel since the engine was opened. */
  kernelTimes(): ReturnType<NativeDevice['kernelTimes']>;
  close(): void;
}

export interface InferenceOptions {
  /** Engine threads; default: all of the machine's. */
  readonly threads?: number | undefined;
}

/** A prediction waits for no peer. */
const TIMEOUT_SECONDS = 3600;

/** Weights are written once, and laid out for the products on the first run. Raises engine/unsupported where a kernel is missing. */
export async function openInference(
  graph: Graph,
  weights: ReadonlyMap<string, ParameterArray>,
  { threads = availableParallelism() }: InferenceOptions = {},
): Promise<InferenceEngine> {
  const { rank, executable } = buildFunction(graph);
  const device = new NativeDevice({ threads });
  try {
    await device.open(rank);
    await device.load(executable);
    for (const [index, { name }] of graph.parameters.entries()) {
      const data = weights.get(name);
      if (data === undefined) throw new MerakError('checkpoint/mismatch', `there are no weights for '${name}'`);
      await device.write(index, 'value', data);
    }
  } catch (error) {
    device.close();
    throw error;
  }
  return {
    async run(inputs) {
      const input = { step: 0, seed: 0, learningRate: 0, inputs, timeoutSeconds: TIMEOUT_SECONDS };
      return (await device.run(FUNCTION_EXECUTABLE, input)).outputs;
    },
    kernelTimes: () => device.kernelTimes(),
    close: () => device.close(),
  };
}

/** Bytes of the weights as the engine holds them (in the row-major form; copies packed for products come on top). */
export function weightBytes(graph: Graph): number {
  return graph.parameters.reduce((sum, { value }) => sum + valueBytes(graph.values[value]!), 0);
}
