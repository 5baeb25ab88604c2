/** Tracing a function once per shard of a group: same program, each shard's own shapes and number. */
import * as tf from '@tensorflow/tfjs';
import { patchTapeGradients } from '../../autodiff/tape.js';
import { MerakError } from '../../errors.js';
import type { Graph } from '../../graph/graph.js';
import { optimizeGraph } from '../../graph/passes/optimize.js';
import { loadAddon } from '../../runtime/native/addon.js';
import { type TensorSpec, toDType } from '../../trace/rules/rule.js';
import { traceFunction } from '../../trace/traceFunction.js';
import { flatten, type Tree, unflatten } from '../jit/tree.js';
import { localShape, type Placement, rangeOf } from './placement.js';
import type { Workers } from './workers.js';

export interface ShardTrace {
  readonly graph: Graph;
  /** In step with `graph.parameters`. */
  readonly variables: readonly tf.Variable[];
  readonly result: Tree;
  /** Types of the results on this shard. */
  readonly outputs: readonly TensorSpec[];
}

export interface ShardedInput extends TensorSpec {
  readonly placement: Placement;
}

/**
 * `fn` takes the list of arguments. Raises trace/*, config/invalid where rows cannot be cut, and trace/model where shards
 * return different structures.
 */
export function traceShards(
  fn: (args: unknown) => unknown,
  args: Tree,
  inputs: readonly ShardedInput[],
  workers: Workers,
  owner: object,
  placementsOfResult: (result: Tree) => readonly Placement[],
): ShardTrace[] {
  const { numShards } = workers.options;
  const totals = inputs.flatMap(({ shape, placement }) =>
    placement.placement === 'shard' ? [shape[placement.dim]!] : [],
  );
  const traces = Array.from({ length: numShards }, (_, rank) => {
    const local = inputs.map(({ shape, dtype, placement }, index) => {
      const range = rangeOf(placement, shape, numShards, rank, `tensor ${index} of the arguments`);
      return { shape: localShape(shape, placement, range), dtype };
    });
    return workers.traceShard(rank, totals, owner, () =>
      traceShard(fn, args, local, rank === 0 ? undefined : placementsOfResult),
    );
  });
  const [first] = traces;
  const other = traces.findIndex(({ result }) => JSON.stringify(result) !== JSON.stringify(first!.result));
  if (other >= 0) {
    throw new MerakError('trace/model', `shards 0 and ${other} return different structures or plain values`, {
      path: 'result',
      expected: JSON.stringify(first!.result),
      received: JSON.stringify(traces[other]!.result),
      hint: 'return tensors of the same structure on every shard, whatever axisIndex() is',
    });
  }
  return traces;
}

/** With `placementsOfResult` the shard gives of replicated results the first element only: another gives the whole. */
function traceShard(
  fn: (args: unknown) => unknown,
  args: Tree,
  inputs: readonly TensorSpec[],
  placementsOfResult?: (result: Tree) => readonly Placement[],
): ShardTrace {
  let result: Tree = { kind: 'plain', value: undefined };
  let outputs: readonly TensorSpec[] = [];
  const traced = traceFunction(
    (proxies) => {
      const flat = flatten(fn(unflatten(args, proxies)), 'result', true);
      result = flat.tree;
      outputs = flat.tensors.map(({ shape, dtype }) => ({ shape: [...shape], dtype: toDType(dtype) }));
      const placements = placementsOfResult?.(result);
      return flat.tensors.map((tensor, index) => {
        if (placements?.[index]?.placement !== 'replicate' || tensor.size <= 1) return tensor;
        const [begin, size] = [0, 1].map((value) => tensor.shape.map(() => value));
        return tf.slice(tensor, begin!, size!);
      });
    },
    { inputs, dynamicOutputs: [], patches: () => [patchTapeGradients] },
  );
  if (traced.pause !== undefined) {
    throw new MerakError('trace/dynamic-shape', `${traced.pause.kernel} gives shapes that depend on data`, {
      hint: 'shards must know their shapes: compute it outside, with merak.jit, and pass the result',
    });
  }
  if (traced.created.length > 0) {
    const names = traced.created.map(({ name }) => name).join(', ');
    for (const variable of traced.created) variable.dispose();
    throw new MerakError('trace/model', 'a function of a group creates variables', {
      received: names,
      hint: 'make them outside, with group.state',
    });
  }
  const graph = optimizeGraph(traced.graph);
  return { graph, variables: traced.variables, result, outputs };
}

/** Raises engine/unsupported, naming the kernels, when the native engine lacks something in the graph. */
export function checkNative({ nodes, values }: Graph): void {
  const addon = loadAddon();
  const known = new Set(addon.kernelNames());
  const problems = new Map<string, string>();
  for (const { kernel, inputs, inputNames, outputs, attrs, scope } of nodes) {
    const typeOf = (id: number) => values[id]!;
    const spec = { kernel, inputs: inputs.map(typeOf), inputNames, outputs: outputs.map(typeOf), attrs, scope };
    const why = known.has(kernel) ? addon.supports(spec) : 'there is no such kernel';
    if (why !== '') problems.set(kernel, why);
  }
  if (problems.size === 0) return;
  throw new MerakError('engine/unsupported', `the native engine cannot run ${[...problems.keys()].sort().join(', ')}`, {
    received: [...problems].map(([kernel, why]) => `${kernel}: ${why}`).join('; '),
    hint: "open the group with { device: 'tfjs' }, or compute this part with merak.jit",
  });
}
