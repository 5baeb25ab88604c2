/** Programs of one kernel call again and again, and plans around them: what stopwatches run. */
import { elementBytes, numElements } from '../../graph/cost.js';
import type { KernelCall } from '../../graph/kernelCall.js';
import { align } from '../../plan/memory.js';
import type { Executable, Instruction, Program, ProgramNode, ProgramValue, RankPlan } from '../../plan/plan.js';
import type { NodeSpec, TensorSpec } from './addon.js';

export const NO_SLOTS = {
  batch: 0,
  received: -1,
  sent: -1,
  saved: -1,
  recomputed: -1,
  pending: -1,
  sentGradients: -1,
  receivedGradients: -1,
} as const;

/** The call as the addon's `supports` and `cudaSupports` are asked for it. */
export function specOf({ graph, node }: KernelCall): NodeSpec {
  const type = (id: number): TensorSpec => {
    const { shape = [], dtype = 'float32', storedAs } = graph.values[id] ?? {};
    return { shape, dtype: (storedAs ?? dtype) as TensorSpec['dtype'] };
  };
  return { ...node, inputs: node.inputs.map(type), outputs: node.outputs.map(type) };
}

export interface TimedProgram {
  readonly program: Omit<Program, 'chunk'>;
  /** Nodes before the first that counts. */
  readonly numFills: number;
  readonly bytes: number;
}

export interface Repetition {
  readonly numRuns: number;
  /** A call's operands go round in so many bytes. */
  readonly rotatedBytes: number;
  /** Sets of operands at most. Default `numRuns`. */
  readonly mostSets?: number;
  /** Nodes that give value `id`, an operand, its contents; `spare` adds a value of their own. */
  fill(value: ProgramValue, id: number, spare: (value: Pick<ProgramValue, 'shape' | 'dtype'>) => number): ProgramNode[];
}

/** The call again and again, each time on other operands, which are filled beforehand. */
export function timedProgram({ graph, node }: KernelCall, repetition: Repetition): TimedProgram {
  const { numRuns, rotatedBytes, mostSets = numRuns, fill } = repetition;
  const types = [...node.inputs, ...node.outputs].map((id) => {
    const { shape = [], dtype = 'float32', storedAs } = graph.values[id] ?? {};
    const stored = storedAs ?? dtype;
    return { shape, dtype: stored, bytes: align(numElements(shape) * elementBytes(stored)) };
  });
  const setBytes = types.reduce((sum, { bytes }) => sum + bytes, 0);
  const sets = Math.max(1, Math.min(mostSets, Math.floor(rotatedBytes / setBytes)));
  const values: ProgramValue[] = [];
  const add = (value: ProgramValue) => values.push(value) - 1;
  const valueAt = (set: number, index: number): ProgramValue => {
    const { shape = [], dtype = 'float32' } = types[index] ?? {};
    const before = types.slice(0, index).reduce((sum, { bytes }) => sum + bytes, 0);
    return { shape, dtype, space: 'scratch', offset: set * setBytes + before };
  };
  let spareBytes = 0;
  const spare = ({ shape, dtype }: Pick<ProgramValue, 'shape' | 'dtype'>) => {
    spareBytes = Math.max(spareBytes, align(numElements(shape) * elementBytes(dtype)));
    return add({ shape, dtype, space: 'scratch', offset: sets * setBytes });
  };
  const inputs = Array.from({ length: sets }, (_, set) => node.inputs.map((_id, index) => add(valueAt(set, index))));
  const fills = inputs.flat().flatMap((id) => fill(values[id]!, id, spare));
  const { kernel, inputNames, attrs } = node;
  const timed = Array.from({ length: numRuns }, (_, run): ProgramNode => {
    const set = run % sets;
    const outputs = node.outputs.map((_id, index) => add(valueAt(set, node.inputs.length + index)));
    return { kernel, inputs: inputs[set] ?? [], inputNames, outputs, attrs, scope: '' };
  });
  return {
    program: { kind: 'forward', values, nodes: [...fills, ...timed] },
    numFills: fills.length,
    bytes: sets * setBytes + spareBytes,
  };
}

/** A program is the chunk of its number. */
export function executableOf(
  name: string,
  programs: readonly TimedProgram[],
  schedule: readonly Instruction[],
): Executable {
  const bytes = Math.max(0, ...programs.map((one) => one.bytes));
  return {
    name,
    numMicroBatches: 1,
    microBatchSize: 1,
    spaces: [{ space: 'scratch', base: 0, slotBytes: [bytes] }],
    arenaBytes: bytes,
    programs: programs.map(({ program }, chunk) => ({ ...program, chunk })),
    inputs: [],
    metrics: [],
    outputs: [],
    constants: [],
    schedule,
  };
}

/** With one cache line that ranks reduce to meet. */
export function meetingPlan(rank: number, ranks: number): RankPlan {
  return {
    rank,
    coordinates: { pp: rank, dp: 0, tp: 0 },
    mesh: { pp: ranks, dp: 1, tp: 1 },
    groups: [{ id: 0, axis: 'world', ranks: Array.from({ length: ranks }, (_, index) => index) }],
    parameters: [],
    persistentSpaces: [{ space: 'parameters', base: 0, slotBytes: [64] }],
    persistentBytes: 64,
    gradientBuckets: [],
    stateBuckets: [{ group: 0, offset: 0, length: 16, scale: 1 / ranks }],
    optimizer: { kind: 'sgd' },
    clipNorm: 0,
    executables: [],
  };
}
