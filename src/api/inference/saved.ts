/** Saved models: model.json (graph, modes of the layers, labels), model.safetensors (weights, int8 as int8), tokenizer.json. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import {
  type NamedTensor,
  openSafetensors,
  type SafetensorsDType,
  writeSafetensors,
} from '../../checkpoint/safetensors.js';
import { replaceFolder } from '../../checkpoint/write.js';
import { MerakError } from '../../errors.js';
import type { Value } from '../../graph/graph.js';
import type { ParameterArray } from '../../runtime/device.js';
import { constantName, graphFromJson, graphToJson } from './graphJson.js';
import {
  type LabelOptions,
  type Manifest,
  MODEL_FILE,
  MODEL_FORMAT,
  MODEL_VERSION,
  manifestSchema,
  type TextOptions,
  TOKENIZER_FILE,
  WEIGHTS_FILE,
} from './manifest.js';
import type { SavedVariant } from './model.js';

export interface SaveOptions {
  /** The contents of a tokenizer.json, as @huggingface/tokenizers reads it. */
  readonly tokenizer?: object | undefined;
  /** With a tokenizer: where its ids go. */
  readonly text?: TextOptions | undefined;
  /** For classifiers. */
  readonly labels?: LabelOptions | undefined;
}

export interface LoadedModel {
  readonly variant: SavedVariant;
  readonly manifest: Manifest;
  readonly tokenizer: object | undefined;
}

/** An older folder stays whole until the new one is complete. @throws MerakError checkpoint/write */
export async function saveInference(folder: string, variant: SavedVariant, options: SaveOptions): Promise<void> {
  const { graph, weights, layers } = variant;
  const target = resolve(folder);
  const building = join(dirname(target), `.${basename(target)}.${process.pid}.partial`);
  const tensors: NamedTensor[] = [
    ...graph.parameters.map(({ name, value }) => tensorOf(name, graph.values[value]!, weights.get(name)!)),
    ...graph.constants.map(({ value, data }, index) => tensorOf(constantName(index), graph.values[value]!, data)),
  ];
  try {
    await mkdir(building, { recursive: true });
    const sha256 = await writeSafetensors(join(building, WEIGHTS_FILE), tensors, async (index) => tensors[index]!.data);
    const manifest = {
      format: MODEL_FORMAT,
      version: MODEL_VERSION,
      layers,
      text: options.text,
      labels: options.labels,
      sha256,
      graph: graphToJson(graph),
    };
    await writeFile(join(building, MODEL_FILE), JSON.stringify(manifest));
    if (options.tokenizer !== undefined) {
      await writeFile(join(building, TOKENIZER_FILE), JSON.stringify(options.tokenizer));
    }
    await replaceFolder(building, target);
  } catch (cause) {
    await rm(building, { recursive: true, force: true }).catch(() => {});
    if (cause instanceof MerakError) throw cause;
    throw new MerakError('checkpoint/write', `cannot save the model: ${(cause as Error).message}`, {
      path: target,
      cause,
      hint: 'free disk space or choose another folder; nothing half-written was left',
    });
  }
}

function tensorOf(name: string, { shape, dtype, storedAs }: Value, data: NamedTensor['data']): NamedTensor {
  const kinds: Readonly<Record<string, SafetensorsDType>> = { float32: 'F32', int32: 'I32', bool: 'BOOL', int8: 'I8' };
  return { name, shape, dtype: kinds[storedAs ?? dtype]!, data };
}

/** @throws MerakError checkpoint/missing, checkpoint/corrupt */
export async function loadInference(folder: string): Promise<LoadedModel> {
  const path = join(folder, MODEL_FILE);
  const manifest = parseManifest(path, await readJson(path));
  const weightsPath = join(folder, WEIGHTS_FILE);
  const file = await openSafetensors(weightsPath);
  const tensors = new Map<string, NamedTensor>();
  try {
    for (const name of file.entries.keys()) tensors.set(name, await file.read(name));
  } finally {
    await file.close();
  }
  const found = createHash('sha256')
    .update(await readFile(weightsPath))
    .digest('hex');
  if (found !== manifest.sha256) {
    throw new MerakError('checkpoint/corrupt', 'the weights are not those that were saved: their checksum differs', {
      path: weightsPath,
      expected: manifest.sha256,
      received: found,
      hint: 'copy the folder again, or save the model again',
    });
  }
  const dataOf = (name: string): NamedTensor['data'] => {
    const tensor = tensors.get(name);
    if (tensor !== undefined) return tensor.data;
    throw new MerakError('checkpoint/corrupt', `the weights lack the tensor '${name}'`, {
      path: weightsPath,
    });
  };
  const graph = graphFromJson(manifest.graph, path, (name) => dataOf(name) as Float32Array | Int32Array | Uint8Array);
  const weights = new Map<string, ParameterArray>();
  for (const { name, value } of graph.parameters) {
    const { shape } = graph.values[value]!;
    const data = dataOf(name);
    if (tensors.get(name)?.shape.join() !== shape.join()) {
      throw new MerakError('checkpoint/corrupt', `the tensor '${name}' has another shape than the graph says`, {
        path: weightsPath,
        expected: `[${shape}]`,
        received: `[${tensors.get(name)?.shape}]`,
      });
    }
    weights.set(name, data as ParameterArray);
  }
  const tokenizer = manifest.text === undefined ? undefined : await readJson(join(folder, TOKENIZER_FILE));
  return { variant: { graph, weights, layers: manifest.layers }, manifest, tokenizer: tokenizer as object | undefined };
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new MerakError('checkpoint/missing', `cannot read ${path}`, {
      path,
      cause,
      hint: 'name the folder of a model saved by Merak (one with model.json and model.safetensors)',
    });
  });
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MerakError('checkpoint/corrupt', 'a file of a saved model is not JSON', { path, cause });
  }
}

function parseManifest(path: string, json: unknown): Manifest {
  const parsed = manifestSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new MerakError('checkpoint/corrupt', `model.json is not that of a model saved by Merak: ${issue?.message}`, {
    path: `${path}: ${issue?.path.join('.')}`,
    hint: 'save the model again with this version of Merak',
  });
}
