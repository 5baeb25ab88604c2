/** Messages between stages: a slot of `sent` or `sentGradients` as bytes, laid out as the receiver's slot. */
import { MerakError } from '../../errors.js';
import type { Executable, ProgramValue, Space } from '../../plan/plan.js';
import { restoreBackend } from './backend.js';
import { valuesIn } from './compile.js';
import type { StepContext } from './context.js';
import { arrayOf, bytesPerElement, makeTensor, numElements, readTensor, viewBytes } from './hostData.js';

export type What = 'activation' | 'gradient';

/** Both kinds of messages of every micro-batch have their own tag. */
export function tagOf(what: What, micro: number): number {
  return micro * 2 + (what === 'gradient' ? 1 : 0);
}

/** Bytes of everything the slot holds, at its offsets. */
export async function packSlot({ storage, executable }: StepContext, what: What, slot: number): Promise<Uint8Array> {
  const space = what === 'activation' ? 'sent' : 'sentGradients';
  const message = new Uint8Array(bytesPerSlot(executable, space));
  for (const [offset, tensor] of storage.entries(space, slot)) message.set(viewBytes(await readTensor(tensor)), offset);
  return message;
}

export function unpackSlot(
  { storage, executable, backend, plan }: StepContext,
  what: What,
  slot: number,
  message: Uint8Array,
): void {
  const space = what === 'activation' ? 'received' : 'receivedGradients';
  restoreBackend(backend);
  for (const { offset, shape, dtype } of valuesIn(executable, space)) {
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

function bytesPerSlot(executable: Executable, space: Space): number {
  return executable.spaces.find((one) => one.space === space)?.bytesPerSlot ?? 0;
}

function bytesOf({ shape, dtype }: Pick<ProgramValue, 'shape' | 'dtype'>): number {
  return numElements(shape) * bytesPerElement(dtype);
}
