/** A stopwatch for single kernels of the engine. */
import type { Graph, Node } from '../../graph/graph.js';
import type { HostArray } from '../device.js';
import { type Addon, loadAddon, type NodeSpec, type TensorSpec } from './addon.js';

export interface TimeNodeOptions {
  /** Of the kernel. Default 1. */
  readonly threads?: number;
  /** Spent per kernel, about: the fastest of as many runs as fit. Default 0.02. */
  readonly secondsPerNode?: number;
}

/** Collectives meet other ranks, and what a program does to its arena is no kernel. */
const NOT_ALONE: ReadonlySet<string> = new Set(['MerakAllReduce', 'MerakAllGather', 'MerakAccumulate', 'MerakAssign']);

/** Seconds of a graph's node on random data, null when it cannot run alone. Loads the addon; see `loadAddon`. */
export function nodeTimer(options: TimeNodeOptions = {}): (graph: Graph, node: Node) => number | null {
  const addon = loadAddon();
  const budget = options.secondsPerNode ?? 0.02;
  addon.setThreads(options.threads ?? 1);
  return (graph, node) => {
    if (NOT_ALONE.has(node.kernel)) return null;
    // Single kernels take host arrays, and JavaScript has none of bfloat16.
    if ([...node.inputs, ...node.outputs].some((id) => graph.values[id]?.storedAs !== undefined)) return null;
    const spec: NodeSpec = {
      kernel: node.kernel,
      inputs: node.inputs.map((id) => typeOf(graph, id)),
      inputNames: node.inputNames,
      outputs: node.outputs.map((id) => typeOf(graph, id)),
      attrs: node.attrs,
      scope: node.scope,
    };
    if (addon.supports(spec) !== '') return null;
    const inputs = spec.inputs.map(sample);
    const first = fastest(addon, spec, inputs, 2);
    const runs = Math.min(2000, Math.max(3, Math.round(budget / Math.max(first, 1e-7))));
    return Math.min(first, fastest(addon, spec, inputs, runs));
  };
}

function fastest(addon: Addon, spec: NodeSpec, inputs: readonly HostArray[], repeat: number): number {
  return Number(addon.runKernel(spec, inputs, { repeat }).at(-1));
}

function typeOf(graph: Graph, id: number): TensorSpec {
  const { shape = [], dtype = 'float32' } = graph.values[id] ?? {};
  return { shape, dtype };
}

/** Small positive numbers; indices are 0 or 1, valid in any table of two rows. */
function sample({ shape, dtype }: TensorSpec): HostArray {
  const length = shape.reduce((product, size) => product * size, 1);
  if (dtype === 'bool') return Uint8Array.from({ length }, (_, i) => i % 2);
  if (dtype === 'int32') return Int32Array.from({ length }, (_, i) => i % 2);
  return Float32Array.from({ length }, (_, i) => 0.1 + ((i * 7919) % 1000) / 1000);
}
