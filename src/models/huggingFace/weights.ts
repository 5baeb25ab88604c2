/** Weights from and to safetensors files with the names Hugging Face's models have. */
import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { openSafetensors, type SafetensorsFile, writeSafetensors } from '../../checkpoint/safetensors.js';
import { MerakError } from '../../errors.js';
import { familyOf, type HuggingFaceModel, prefixIn, slotsOf, writtenPrefix } from './family.js';
import type { Slot } from './slots.js';

export interface LoadedWeights {
  /** Of the model: heads the file does not have, left as they were. */
  readonly missing: readonly string[];
  /** Of the file: tensors the model has no place for (deeper layers, buffers, tied copies). */
  readonly unused: readonly string[];
}

/**
 * Loads weights of BERT, MiniLM (`models.bert`, `models.encoder`), XLM-R, RoBERTa (with `positionOffset: 2`) or GPT-2
 * (`models.gpt`). A model of fewer layers takes the first; a shorter position table its first rows. float16 and bfloat16
 * are widened.
 *
 * @param path a .safetensors file, or a folder with model.safetensors
 * @throws MerakError checkpoint/missing, checkpoint/corrupt, checkpoint/mismatch; before anything is assigned
 * @example
 * const model = merak.models.bert({ vocabularySize: 30522, contextLength: 128, numLayers: 12, numHeads: 12, hiddenSize: 768 });
 * const { missing } = await merak.models.loadHuggingFace(model, 'models/bert-base-uncased');
 */
export async function loadHuggingFace(model: HuggingFaceModel, path: string): Promise<LoadedWeights> {
  const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
  const file = isFolder ? join(path, 'model.safetensors') : path;
  const saved = await openSafetensors(file);
  try {
    const names = new Set(saved.entries.keys());
    const prefix = prefixIn(model, names);
    if (prefix === undefined) throw notOfFamily(model, file, names);
    const found = slotsOf(model).map((slot) => ({ slot, name: nameIn(slot, prefix, names) }));
    for (const { slot, name } of found) checkShape(slot, name, prefix, file, saved);
    for (const { slot, name } of found) if (name !== undefined) await assign(slot, name, saved);
    const used = new Set(found.map(({ name }) => name));
    return {
      missing: found.filter(({ name }) => name === undefined).map(({ slot }) => nameOf(slot, prefix)),
      unused: [...names].filter((name) => !used.has(name)),
    };
  } finally {
    await saved.close();
  }
}

/** Writes a model's weights as float32 under Hugging Face's names; the file's folder is made. */
export async function saveHuggingFaceWeights(model: HuggingFaceModel, file: string): Promise<void> {
  const slots = slotsOf(model);
  const prefix = writtenPrefix(model);
  const header = slots.map((slot) => ({ name: nameOf(slot, prefix), shape: fileShape(slot), dtype: 'F32' as const }));
  await mkdir(dirname(file), { recursive: true });
  const dataOf = (i: number): Promise<Float32Array> => {
    const { variable, columns, transposed = false } = slots[i]!;
    const wanted = tf.tidy(() => {
      const part = columns === undefined ? variable : lastDimOf(variable, columns.begin, columns.size);
      return transposed && part.rank === 2 ? tf.transpose(part) : part.clone();
    });
    return wanted.data<'float32'>().finally(() => wanted.dispose());
  };
  await writeSafetensors(file, header, dataOf, { format: 'pt' });
}

function nameOf({ names, isAbsolute = false }: Slot, prefix: string): string {
  return `${isAbsolute ? '' : prefix}${names[0]}`;
}

function nameIn({ names, isAbsolute = false }: Slot, prefix: string, present: ReadonlySet<string>): string | undefined {
  return names.map((name) => (isAbsolute ? name : prefix + name)).find((name) => present.has(name));
}

/** The shape a slot has in a file. */
function fileShape({ variable, columns, transposed = false }: Slot): number[] {
  const shape = columns === undefined ? [...variable.shape] : [...variable.shape.slice(0, -1), columns.size];
  return transposed && shape.length === 2 ? shape.reverse() : shape;
}

function checkShape(slot: Slot, name: string | undefined, prefix: string, file: string, saved: SafetensorsFile): void {
  if (name === undefined) {
    if (slot.isOptional === true) return;
    throw new MerakError('checkpoint/mismatch', `the file has no '${nameOf(slot, prefix)}'`, {
      path: file,
      hint: 'the model has more layers than the file, or is of another family',
    });
  }
  const expected = fileShape(slot);
  const received = saved.entries.get(name)!.shape;
  const agree = received.length === expected.length && received.every((size, dim) => size === expected[dim]);
  const [rows = 0, ...rest] = expected;
  const isLonger = (received[0] ?? 0) >= rows && received.slice(1).join() === rest.join();
  if (agree || (slot.mayHaveMoreRows === true && isLonger)) return;
  throw new MerakError('checkpoint/mismatch', `'${name}' has another shape than the model`, {
    path: file,
    expected: `[${expected.join(', ')}]`,
    received: `[${received.join(', ')}]`,
  });
}

async function assign(
  { variable, columns, transposed = false }: Slot,
  name: string,
  saved: SafetensorsFile,
): Promise<void> {
  const { data, shape } = await saved.read(name);
  tf.tidy(() => {
    let value = tf.tensor(data, [...shape], 'float32');
    if (transposed && value.rank === 2) value = tf.transpose(value);
    const [rows = 0] = variable.shape;
    if (shape.length === variable.rank && columns === undefined && value.shape[0]! > rows) value = value.slice(0, rows);
    variable.assign(columns === undefined ? value : withColumns(variable, columns, value));
  });
}

function lastDimOf(x: tf.Tensor, begin: number, size: number): tf.Tensor {
  const others = x.shape.slice(0, -1);
  return tf.slice(x, [...others.map(() => 0), begin], [...others, size]);
}

/** The variable's value with some of its last dim replaced. */
function withColumns(
  variable: tf.Variable,
  { begin, size }: { begin: number; size: number },
  part: tf.Tensor,
): tf.Tensor {
  const end = begin + size;
  const width = variable.shape.at(-1)!;
  const pieces = [
    ...(begin > 0 ? [lastDimOf(variable, 0, begin)] : []),
    part,
    ...(end < width ? [lastDimOf(variable, end, width - end)] : []),
  ];
  return tf.concat(pieces, -1);
}

function notOfFamily(model: HuggingFaceModel, file: string, names: ReadonlySet<string>): MerakError {
  return new MerakError('checkpoint/mismatch', `the file holds no ${familyOf(model)} model`, {
    path: file,
    expected: `a tensor '${slotsOf(model)[0]!.names[0]}', with or without a prefix`,
    received: [...names].slice(0, 5).join(', '),
    hint: 'XLM-R and RoBERTa want positionOffset: 2, BERT and MiniLM 0',
  });
}
