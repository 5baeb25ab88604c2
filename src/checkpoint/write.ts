/** Writes a checkpoint: into a folder beside the target, renamed when complete, so that a failed save leaves nothing. */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { MerakError } from '../errors.js';
import {
  type CheckpointIndex,
  FORMAT_VERSION,
  INDEX_FILE,
  type JsonRecord,
  OPTIMIZER_FILE,
  type Progress,
  STATE_FILE,
  type StateIndex,
  WEIGHTS_FILE,
} from './format.js';
import { type NamedTensor, type SafetensorsDType, writeSafetensors } from './safetensors.js';

/** Logical tensors, fetched one at a time so that the whole model never has to fit beside the workers. */
export interface CheckpointContent {
  readonly parameters: CheckpointIndex['parameters'];
  readonly optimizer: CheckpointIndex['optimizer'];
  readonly progress: Progress;
  value(parameter: number): Promise<NamedTensor['data']>;
  moment(parameter: number, moment: number): Promise<NamedTensor['data']>;
}

const DTYPES: Readonly<Record<string, SafetensorsDType>> = { float32: 'F32', int32: 'I32', bool: 'BOOL' };

/** @throws MerakError checkpoint/write; an older checkpoint at `path` stays whole until the new one is complete. */
export async function writeCheckpoint(path: string, content: CheckpointContent): Promise<void> {
  await commitFolder(path, (folder) => writeFiles(folder, content));
}

/**
 * Named tensors, fetched one at a time, and plain JSON beside them.
 *
 * @throws MerakError checkpoint/write; what was at `path` stays whole until the new state is complete.
 */
export async function writeNamedTensors(
  path: string,
  tensors: StateIndex['tensors'],
  dataOf: (index: number) => Promise<NamedTensor['data']>,
  progress: JsonRecord,
): Promise<void> {
  await commitFolder(path, async (folder) => {
    const named = tensors.map(({ name, shape, dtype }) => ({ name, shape, dtype: DTYPES[dtype]! }));
    const sum = await writeSafetensors(join(folder, STATE_FILE), named, dataOf, { format: 'merak' });
    const files = { [STATE_FILE]: sum };
    await writeIndex(folder, { format: 'merak-state', version: FORMAT_VERSION, tensors, progress, files });
  });
}

/** Builds a folder beside the target, and puts it in the target's place when complete. */
async function commitFolder(path: string, build: (folder: string) => Promise<void>): Promise<void> {
  const target = resolve(path);
  const building = join(dirname(target), `.${basename(target)}.${process.pid}.partial`);
  try {
    await mkdir(building, { recursive: true });
    await build(building);
    await replaceFolder(building, target);
  } catch (cause) {
    // What stopped the save (a full disk, a file in the way) may stop the cleaning too; the first error is the one to tell.
    await rm(building, { recursive: true, force: true }).catch(() => {});
    if (cause instanceof MerakError) throw cause;
    throw new MerakError('checkpoint/write', `cannot save the checkpoint: ${(cause as Error).message}`, {
      path: target,
      hint: 'free disk space or choose another folder; nothing half-written was left',
      cause,
    });
  }
}

async function writeFiles(folder: string, content: CheckpointContent): Promise<void> {
  const { parameters, optimizer, progress } = content;
  const files: Record<string, string> = {};
  const weights = parameters.map(({ name, shape, dtype }) => ({ name, shape, dtype: DTYPES[dtype]! }));
  files[WEIGHTS_FILE] = await writeSafetensors(join(folder, WEIGHTS_FILE), weights, content.value, { format: 'merak' });
  const moments = parameters.flatMap((parameter, index) =>
    Array.from({ length: parameter.trainable ? optimizer.numMoments : 0 }, (_, moment) => ({
      parameter,
      index,
      moment,
    })),
  );
  files[OPTIMIZER_FILE] = await writeSafetensors(
    join(folder, OPTIMIZER_FILE),
    moments.map(({ parameter, moment }) => ({
      name: `${parameter.name}#${moment}`,
      shape: parameter.shape,
      dtype: 'F32',
    })),
    (i) => content.moment(moments[i]!.index, moments[i]!.moment),
  );
  const index: CheckpointIndex = {
    format: 'merak-checkpoint',
    version: FORMAT_VERSION,
    parameters,
    optimizer,
    progress,
    files,
  };
  await writeIndex(folder, index);
}

/** The commit marker: written last. */
async function writeIndex(folder: string, index: object): Promise<void> {
  const file = await open(join(folder, INDEX_FILE), 'w');
  try {
    await file.writeFile(`${JSON.stringify(index, null, 1)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Rename cannot replace a folder that holds files, so the old one steps aside first. */
export async function replaceFolder(from: string, to: string): Promise<void> {
  const aside = `${from}.old`;
  const hadOld = await rename(to, aside).then(
    () => true,
    () => false,
  );
  try {
    await rename(from, to);
  } catch (error) {
    if (hadOld) await rename(aside, to);
    throw error;
  }
  if (hadOld) await rm(aside, { recursive: true, force: true });
}
