/** Reads a checkpoint back, refusing what is damaged or unfinished. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { MerakError } from '../errors.js';
import {
  type CheckpointIndex,
  checkpointIndexSchema,
  INDEX_FILE,
  type JsonRecord,
  OPTIMIZER_FILE,
  STATE_FILE,
  type StateIndex,
  stateIndexSchema,
  WEIGHTS_FILE,
} from './format.js';
import { type NamedTensor, openSafetensors } from './safetensors.js';

export interface Checkpoint {
  readonly index: CheckpointIndex;
  value(name: string): Promise<NamedTensor>;
  moment(name: string, moment: number): Promise<NamedTensor>;
  close(): Promise<void>;
}

/** Opens and verifies (SHA-256 of every file). @throws MerakError checkpoint/missing, checkpoint/corrupt */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const index = await readIndex(path, checkpointIndexSchema);
  await verifyFiles(path, index.files);
  const weights = await openSafetensors(join(path, WEIGHTS_FILE));
  const optimizer = await openSafetensors(join(path, OPTIMIZER_FILE));
  return {
    index,
    value: (name) => weights.read(name),
    moment: (name, moment) => optimizer.read(`${name}#${moment}`),
    async close() {
      await weights.close();
      await optimizer.close();
    },
  };
}

export interface SavedTensors {
  readonly tensors: StateIndex['tensors'];
  readonly progress: JsonRecord;
  read(name: string): Promise<NamedTensor>;
  close(): Promise<void>;
}

/** Opens and verifies what `writeNamedTensors` wrote. @throws MerakError checkpoint/missing, checkpoint/corrupt */
export async function openNamedTensors(path: string): Promise<SavedTensors> {
  const { tensors, progress, files } = await readIndex(path, stateIndexSchema);
  await verifyFiles(path, files);
  const file = await openSafetensors(join(path, STATE_FILE));
  return { tensors, progress, read: (name) => file.read(name), close: () => file.close() };
}

async function verifyFiles(path: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, expected] of Object.entries(files)) {
    const received = await sha256(join(path, name));
    if (received !== expected) {
      throw new MerakError('checkpoint/corrupt', 'a file of the checkpoint has changed since it was saved', {
        path: join(path, name),
        expected: `SHA-256 ${expected}`,
        received: `SHA-256 ${received}`,
        hint: 'restore from an older checkpoint',
      });
    }
  }
}

async function readIndex<S extends z.ZodType>(path: string, schema: S): Promise<z.output<S>> {
  const file = join(path, INDEX_FILE);
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new MerakError('checkpoint/missing', 'no complete checkpoint here', {
      path: file,
      hint: 'a folder without merak.json is not a checkpoint, or one whose save did not finish',
      cause,
    });
  });
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new MerakError('checkpoint/corrupt', 'the index of the checkpoint cannot be read', { path: file, cause });
  }
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  } catch (cause) {
    throw new MerakError('checkpoint/missing', `a file of the checkpoint is missing`, { path, cause });
  }
  return hash.digest('hex');
}
