/** Saving for other programs: tfjs's own format for tf.layers models, safetensors for functional ones. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { writeSafetensors } from '../checkpoint/safetensors.js';
import type { Session } from './session.js';

/** `url` is a path, 'file://path' (relative paths too, as tfjs-node takes them) or a tfjs handler. */
export async function saveModel(session: Session, url: string | tf.io.IOHandler): Promise<void> {
  const { model } = session;
  if (model instanceof tf.LayersModel) {
    const isPath = typeof url === 'string' && (url.startsWith('file://') || !url.includes('://'));
    await model.save(isPath ? folderHandler(pathOf(url)) : url);
    return;
  }
  const path = typeof url === 'string' ? pathOf(url) : undefined;
  const parameters = session.parameters();
  const file = path?.endsWith('.safetensors') === true ? path : join(path ?? 'runs/model', 'model.safetensors');
  await mkdir(dirname(file), { recursive: true });
  const header = parameters.map(({ name, shape, dtype }) => ({
    name,
    shape,
    dtype: dtype === 'int32' ? ('I32' as const) : ('F32' as const),
  }));
  await writeSafetensors(file, header, (i) => session.readParameter(i));
}

function pathOf(url: string): string {
  if (!url.startsWith('file://')) return resolve(url);
  // 'file://runs/x' has 'runs' where a URL has its host: what tfjs users write for a relative path.
  return url.startsWith('file:///') ? fileURLToPath(url) : resolve(url.slice('file://'.length));
}

/** model.json and weights.bin in a folder, as tfjs-node writes and every tfjs reads. */
function folderHandler(folder: string): tf.io.IOHandler {
  return {
    async save(artifacts) {
      await mkdir(folder, { recursive: true });
      const { weightData, weightSpecs, modelTopology, trainingConfig, format, generatedBy, convertedBy } = artifacts;
      const buffers = weightData === undefined ? [] : Array.isArray(weightData) ? weightData : [weightData];
      await writeFile(join(folder, 'weights.bin'), Buffer.concat(buffers.map((buffer) => Buffer.from(buffer))));
      const weightsManifest = [{ paths: ['weights.bin'], weights: weightSpecs }];
      const json = { modelTopology, trainingConfig, format, generatedBy, convertedBy, weightsManifest };
      await writeFile(join(folder, 'model.json'), JSON.stringify(json));
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' as const } };
    },
  };
}
