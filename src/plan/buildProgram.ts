/** A list of graph nodes as a Program: every value at an address, views sharing their source's bytes. */
import { MerakError } from '../errors.js';
import { valueBytes } from '../graph/cost.js';
import type { Graph, Node, ValueId } from '../graph/graph.js';
import { fuseChains } from '../graph/passes/fuseChains.js';
import { tensorType } from '../partitioner/producers.js';
import { joinAccumulations } from './joinAccumulations.js';
import { assignOffsets, type Lifetime } from './memory.js';
import type { Program, ProgramNode, ProgramValue, Space } from './plan.js';

/** Where bytes lie: a space and a byte offset in its slot. */
export interface Address {
  readonly space: Space;
  readonly offset: number;
}

/** A value to be added to, or copied to, an address outside `scratch`. */
export interface Effect {
  readonly kernel: 'MerakAccumulate' | 'MerakAssign';
  readonly value: ValueId;
  readonly target: Address;
  /** At the end of the program (parameters others may still read) rather than as soon as the value exists. */
  readonly last: boolean;
}

export interface ProgramInput {
  readonly kind: Program['kind'];
  readonly graph: Graph;
  /** Nodes to run, in topological order. */
  readonly nodes: readonly Node[];
  readonly effects: readonly Effect[];
  /** Per value: the value whose bytes it shares (itself unless a view). */
  readonly storageOf: readonly ValueId[];
  /** Whether the engine runs chains of element-wise nodes as one (MerakFused). Default false. */
  readonly fusesChains?: boolean;
  /** The fixed address of a storage; undefined means scratch. */
  readonly addressOf: (storage: ValueId) => Address | undefined;
}

/** A node to run. */
export interface Step {
  readonly node: Omit<ProgramNode, 'inputs' | 'outputs'>;
  readonly inputs: readonly ValueId[];
  readonly outputs: readonly ValueId[];
  /** Where its one output goes, in place of the address of a value. */
  readonly target?: Address;
}

/** Scratch is laid out by liveness; a view (Reshape, Identity) of scratch keeps its source alive. */
export function buildProgram(given: ProgramInput): { readonly program: Program; readonly scratchBytes: number } {
  const input = given.fusesChains === true ? withChains(given) : given;
  const steps = joinAccumulations(orderSteps(input), (value) => input.addressOf(input.storageOf[value] ?? value));
  const scratch = layOutScratch(input, steps);
  const values: ProgramValue[] = [];
  const indexOf = new Map<ValueId, number>();
  const describe = (id: ValueId, address: Address): ProgramValue => {
    const { shape, dtype, storedAs } = tensorType(input.graph, id);
    return { shape, dtype: storedAs ?? dtype, space: address.space, offset: address.offset };
  };
  const reference = (id: ValueId): number => {
    const known = indexOf.get(id);
    if (known !== undefined) return known;
    const storage = input.storageOf[id] ?? id;
    const offset = scratch.offsetOf.get(storage);
    const address =
      input.addressOf(storage) ?? (offset === undefined ? undefined : { space: 'scratch' as const, offset });
    if (address === undefined) throw new MerakError('plan/invalid', `value ${id} is read but never made`);
    indexOf.set(id, values.length);
    values.push(describe(id, address));
    return values.length - 1;
  };
  const nodes = steps.map((step): ProgramNode => {
    const inputs = step.inputs.map(reference);
    if (step.target === undefined) return { ...step.node, inputs, outputs: step.outputs.map(reference) };
    values.push(describe((step.outputs[0] ?? step.inputs[0])!, step.target));
    return { ...step.node, inputs, outputs: [values.length - 1] };
  });
  return { program: { kind: input.kind, values, nodes }, scratchBytes: scratch.totalBytes };
}

/** Chains keep what lies at an address of its own, and what effects read. */
function withChains(input: ProgramInput): ProgramInput {
  const { graph, nodes, effects, storageOf, addressOf } = input;
  const read = new Set(effects.map(({ value }) => value));
  const isKept = (value: ValueId) => read.has(value) || addressOf(storageOf[value] ?? value) !== undefined;
  return { ...input, nodes: fuseChains(graph, nodes, isKept) };
}

/** The nodes, with each effect right after the node that makes its value (or at the start, or at the end). */
function orderSteps(input: ProgramInput): Step[] {
  const pending = new Map<ValueId, Effect[]>();
  for (const effect of input.effects.filter((candidate) => !candidate.last)) {
    pending.set(effect.value, [...(pending.get(effect.value) ?? []), effect]);
  }
  const made = new Set(input.nodes.flatMap((node) => node.outputs));
  const steps: Step[] = [];
  const apply = (effect: Effect, scope: string) =>
    steps.push({
      node: { kernel: effect.kernel, inputNames: ['x'], attrs: {}, scope },
      inputs: [effect.value],
      outputs: [],
      target: effect.target,
    });
  for (const [value, effects] of pending) {
    if (!made.has(value)) for (const effect of effects) apply(effect, '');
  }
  for (const { kernel, inputNames, attrs, scope, inputs, outputs } of input.nodes) {
    // A fan-out is the identity forward; what matters of it happened in the backward pass.
    const view = kernel === 'MerakFanOut';
    const node = { kernel: view ? 'Identity' : kernel, inputNames, attrs: view ? {} : attrs, scope };
    steps.push({ node, inputs, outputs });
    for (const output of outputs) for (const effect of pending.get(output) ?? []) apply(effect, scope);
  }
  for (const effect of input.effects) if (effect.last) apply(effect, '');
  return steps;
}

function layOutScratch(
  input: ProgramInput,
  steps: readonly Step[],
): { offsetOf: Map<ValueId, number>; totalBytes: number } {
  const lifetimes = new Map<ValueId, Lifetime>();
  steps.forEach((step, at) => {
    for (const id of step.target === undefined ? [...step.inputs, ...step.outputs] : step.inputs) {
      const storage = input.storageOf[id] ?? id;
      if (input.addressOf(storage) !== undefined) continue;
      const known = lifetimes.get(storage);
      if (known === undefined && step.inputs.includes(id)) {
        throw new MerakError('plan/invalid', `${step.node.kernel} reads value ${id} before it is made`);
      }
      const bytes = valueBytes(tensorType(input.graph, storage));
      lifetimes.set(storage, { bytes, start: known?.start ?? at, end: at });
    }
  });
  const { offsets, totalBytes } = assignOffsets([...lifetimes.values()]);
  return {
    offsetOf: new Map([...lifetimes.keys()].map((storage, index) => [storage, offsets[index] ?? 0])),
    totalBytes,
  };
}
