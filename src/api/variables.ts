/** Variables to and from a safetensors file, apart from any training run. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { openSafetensors, type SafetensorsDType, writeSafetensors } from '../checkpoint/safetensors.js';
import { MerakError } from '../errors.js';

/** Variables by the name they have in the file. */
export type NamedVariables = Readonly<Record<string, tf.Variable>>;

const DTYPES: Readonly<Record<string, SafetensorsDType>> = { float32: 'F32', int32: 'I32', bool: 'BOOL' };

/**
 * Writes the variables' present values to a safetensors file; its folder is made.
 *
 * @example
 * await merak.saveVariables('runs/encoder.safetensors', { table: embeddingTable });
 */
export async function saveVariables(file: string, variables: NamedVariables): Promise<void> {
  const entries = Object.entries(variables);
  await mkdir(dirname(file), { recursive: true });
  const header = entries.map(([name, { shape, dtype }]) => ({ name, shape, dtype: dtypeOf(name, dtype) }));
  await writeSafetensors(file, header, (i) => entries[i]![1].data<'float32' | 'int32' | 'bool'>());
}

/**
 * Assigns what `saveVariables` wrote. Tensors of the file that are not asked for stay where they are.
 *
 * @throws MerakError checkpoint/missing, checkpoint/corrupt, checkpoint/mismatch; before anything is assigned
 */
export async function loadVariables(file: string, variables: NamedVariables): Promise<void> {
  const saved = await openSafetensors(file);
  try {
    for (const [name, variable] of Object.entries(variables)) {
      const entry = saved.entries.get(name);
      if (entry?.shape.join() === variable.shape.join() && entry.dtype === DTYPES[variable.dtype]) continue;
      throw new MerakError('checkpoint/mismatch', `variable '${name}' cannot be loaded`, {
        path: file,
        expected: `${variable.dtype} [${variable.shape.join(', ')}]`,
        received: entry === undefined ? 'not in the file' : `${entry.dtype} [${entry.shape.join(', ')}]`,
      });
    }
    for (const [name, variable] of Object.entries(variables)) {
      const { data, shape } = await saved.read(name);
      tf.tidy(() => variable.assign(tf.tensor(data, [...shape], variable.dtype)));
    }
  } finally {
    await saved.close();
  }
}

function dtypeOf(name: string, dtype: string): SafetensorsDType {
  const found = DTYPES[dtype];
  if (found !== undefined) return found;
  throw new MerakError('checkpoint/write', `variable '${name}' has dtype ${dtype}, which is not saved`, { path: name });
}
