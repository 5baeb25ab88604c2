/** Executables on the wire: programs, instructions, spaces, constants. */
import { chunkField } from './chunks.js';
import type {
  Executable,
  InputPlan,
  Instruction,
  Program,
  ProgramNode,
  ProgramValue,
  Slots,
  SpacePlan,
} from './plan.js';
import { attrsFromWire, attrsToWire, type WireAttrs } from './wireAttrs.js';
import { DTYPES, INSTRUCTIONS, MESSAGES, nameOf, numberOf, PROGRAM_DTYPES, PROGRAMS, SPACES } from './wireEnums.js';

export interface WireSpace extends Omit<SpacePlan, 'space'> {
  readonly space: number;
}

interface WireValue extends Omit<ProgramValue, 'dtype' | 'space'> {
  readonly dtype: number;
  readonly space: number;
}

interface WireProgram {
  readonly kind: number;
  readonly chunk?: number;
  readonly values: readonly WireValue[];
  readonly nodes: readonly (Omit<ProgramNode, 'attrs'> & { readonly attrs: WireAttrs })[];
}

interface WireInstruction {
  readonly kind: number;
  readonly micro?: number;
  readonly slot?: number;
  readonly slots?: Slots | null;
  readonly what?: number;
  readonly peer?: number;
  readonly chunk?: number;
  readonly bytes?: number;
  readonly to?: number;
}

interface WireField extends Omit<InputPlan, 'dtype'> {
  readonly dtype: number;
}

interface WireConstant {
  readonly offset: number;
  readonly dtype: number;
  readonly data: Uint8Array;
}

export interface WireExecutable
  extends Omit<Executable, 'spaces' | 'programs' | 'schedule' | 'inputs' | 'outputs' | 'constants'> {
  readonly spaces: readonly WireSpace[];
  readonly programs: readonly WireProgram[];
  readonly schedule: readonly WireInstruction[];
  readonly inputs: readonly WireField[];
  readonly outputs: readonly WireField[];
  readonly constants: readonly WireConstant[];
}

export function executableToWire(executable: Executable): WireExecutable {
  return {
    ...executable,
    spaces: executable.spaces.map(spaceToWire),
    programs: executable.programs.map(programToWire),
    schedule: executable.schedule.map(instructionToWire),
    inputs: executable.inputs.map(fieldToWire),
    outputs: executable.outputs.map(fieldToWire),
    constants: executable.constants.map(({ offset, data }) => ({ offset, ...bytesOf(data) })),
  };
}

export function executableFromWire(wire: WireExecutable): Executable {
  return {
    name: wire.name,
    numMicroBatches: wire.numMicroBatches,
    microBatchSize: wire.microBatchSize,
    spaces: wire.spaces.map(spaceFromWire),
    arenaBytes: wire.arenaBytes,
    programs: wire.programs.map(programFromWire),
    schedule: wire.schedule.map(instructionFromWire),
    inputs: wire.inputs.map(fieldFromWire),
    metrics: wire.metrics,
    outputs: wire.outputs.map(fieldFromWire),
    constants: wire.constants.map(({ offset, dtype, data }) => ({ offset, data: arrayOf(dtype, data) })),
  };
}

export function spaceToWire(space: SpacePlan): WireSpace {
  return { ...space, space: numberOf(SPACES, space.space) };
}

export function spaceFromWire({ space, base, slotBytes }: WireSpace): SpacePlan {
  return { space: nameOf(SPACES, space), base, slotBytes };
}

function programToWire({ kind, chunk = 0, values, nodes }: Program): WireProgram {
  return {
    kind: numberOf(PROGRAMS, kind),
    chunk,
    values: values.map((value) => ({
      ...value,
      dtype: numberOf(PROGRAM_DTYPES, value.dtype),
      space: numberOf(SPACES, value.space),
    })),
    nodes: nodes.map((node) => ({ ...node, attrs: attrsToWire(node.attrs) })),
  };
}

function programFromWire({ kind, chunk, values, nodes }: WireProgram): Program {
  return {
    kind: nameOf(PROGRAMS, kind),
    ...chunkField(chunk),
    values: values.map(({ shape, dtype, space, offset }) => ({
      shape,
      dtype: nameOf(PROGRAM_DTYPES, dtype),
      space: nameOf(SPACES, space),
      offset,
    })),
    nodes: nodes.map(({ kernel, inputs, inputNames, outputs, attrs, scope }) => ({
      kernel,
      inputs,
      inputNames,
      outputs,
      attrs: attrsFromWire(attrs),
      scope,
    })),
  };
}

function instructionToWire(instruction: Instruction): WireInstruction {
  const kind = numberOf(INSTRUCTIONS, instruction.kind);
  if ('what' in instruction) {
    return { ...instruction, kind, what: numberOf(MESSAGES, instruction.what) };
  }
  return { ...instruction, kind };
}

function instructionFromWire(wire: WireInstruction): Instruction {
  const { micro = 0, slot = 0, peer = 0, bytes = 0, to = 0 } = wire;
  const chunk = chunkField(wire.chunk);
  const kind = nameOf(INSTRUCTIONS, wire.kind);
  switch (kind) {
    case 'load':
      return { kind, micro, ...chunk, slot };
    case 'send':
    case 'receive':
      return { kind, what: nameOf(MESSAGES, wire.what ?? 0), micro, ...chunk, slot, bytes, peer };
    case 'handOver':
      return { kind, what: nameOf(MESSAGES, wire.what ?? 0), micro, ...chunk, slot, bytes, to };
    case 'forward':
    case 'recompute':
    case 'backward':
    case 'weights':
      return { kind, micro, ...chunk, slots: slotsFromWire(wire.slots) };
    default:
      return { kind };
  }
}

function slotsFromWire(slots: Slots | null | undefined): Slots {
  const { batch = -1, received = -1, sent = -1, saved = -1 } = slots ?? {};
  const { receivedGradients = -1, sentGradients = -1, pending = -1, recomputed = -1 } = slots ?? {};
  return { batch, received, sent, saved, receivedGradients, sentGradients, pending, recomputed };
}

function fieldToWire(field: InputPlan): WireField {
  return { ...field, dtype: numberOf(DTYPES, field.dtype) };
}

function fieldFromWire({ name, shape, dtype, offset, chunk }: WireField): InputPlan {
  return { name, shape, dtype: nameOf(DTYPES, dtype), offset, ...chunkField(chunk) };
}

function bytesOf(data: Float32Array | Int32Array | Uint8Array): { dtype: number; data: Uint8Array } {
  const dtype = data instanceof Float32Array ? 'float32' : data instanceof Int32Array ? 'int32' : 'bool';
  return { dtype: numberOf(DTYPES, dtype), data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/** Copies: the bytes of a message need not be aligned for wider elements. */
function arrayOf(dtype: number, bytes: Uint8Array): Float32Array | Int32Array | Uint8Array {
  const copy = Uint8Array.from(bytes);
  const name = nameOf(DTYPES, dtype);
  if (name === 'float32') return new Float32Array(copy.buffer);
  return name === 'int32' ? new Int32Array(copy.buffer) : copy;
}
