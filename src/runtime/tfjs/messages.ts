/** Messages between virtual stages: a slot of `sent` or `sentGradients` as bytes, laid out as the receiver's slot. */
import { MerakError } from '../../errors.js';
import type { Instruction, ProgramValue } from '../../plan/plan.js';
import { restoreBackend } from './backend.js';
import { valuesIn } from './compile.js';
import type { StepContext } from './context.js';
import { arrayOf, bytesPerElement, makeTensor, numElements, readTensor, viewBytes } from './hostData.js';

export type What = 'activation' | 'gradient';

/** Which slot, of what, for which chunk. */
export interface SlotOfChunk {
  readonly what: What;
  readonly slot: number;
  readonly chunk?: number;
}

/** Both kinds of messages of every micro-batch have their own tag; chunks' come in an order that both ends know. */
export function tagOf(what: What, micro: number): number {
  return micro * 2 + (what === 'gradient' ? 1 : 0);
}

/** Bytes of all that the chunk left in the slot, at its offsets; slots keep what other chunks left at others. */
export async function packSlot(
  { storage, executable }: StepContext,
  { what, slot, chunk = 0, bytes }: SlotOfChunk & { readonly bytes: number },
): Promise<Uint8Array> {
  const space = what === 'activation' ? 'sent' : 'sentGradients';
  const message = new Uint8Array(bytes);
  for (const { offset } of valuesIn(executable, space, chunk)) {
    const tensor = storage.get(space, slot, offset);
    if (tensor !== undefined) message.set(viewBytes(await readTensor(tensor)), offset);
  }
  return message;
}

export function unpackSlot(
  { storage, executable, backend, plan }: StepContext,
  { what, slot, chunk = 0 }: SlotOfChunk,
  message: Uint8Array,
): void {
  const space = what === 'activation' ? 'received' : 'receivedGradients';
  restoreBackend(backend);
  for (const { offset, shape, dtype } of valuesIn(executable, space, chunk)) {
    const end = offset + bytesOf({ shape, dtype });
    if (end > message.length) {
      throw new MerakError('plan/invalid', `a message of ${message.length} bytes is too short for the ${space} slot`, {
        path: `rank ${plan.rank}`,
        expected: `at least ${end} bytes`,
      });
    }
    storage.set(space, slot, offset, makeTensor(arrayOf(message.subarray(offset, end), dtype), shape, dtype));
  }
}

/** From one chunk of this rank to the next, or back. */
export async function handOver(
  context: StepContext,
  instruction: Extract<Instruction, { readonly kind: 'handOver' }>,
): Promise<void> {
  const { what, chunk = 0, to } = instruction;
  const message = await packSlot(context, instruction);
  unpackSlot(context, { what, slot: to, chunk: what === 'activation' ? chunk + 1 : chunk - 1 }, message);
}

function bytesOf({ shape, dtype }: Pick<ProgramValue, 'shape' | 'dtype'>): number {
  return numElements(shape) * bytesPerElement(dtype);
}
