/** The recipe that ships: learns a text it is given, saves it, and refuses a configuration it does not know. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { setLaunchContext } from '../../src/config/launch.js';
import { train } from '../../src/launcher/train.js';
import { languageModel } from '../../src/trainers/languageModel.js';
import { trainerByName } from '../../src/trainers/registry.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-trainer-'));
});
afterAll(async () => {
  setLaunchContext(undefined);
  await rm(folder, { recursive: true });
});

it('learns a text', async () => {
  const text = join(folder, 'text');
  await writeFile(text, 'the whale swims and the ship sails. '.repeat(200));
  const small = { numLayers: 2, numHeads: 2, hiddenSize: 32, contextLength: 16, steps: 200, learningRate: 1e-2 };
  const checkpoint = join(folder, 'checkpoint');
  const result = await languageModel.run(languageModel.config.parse({ text, checkpoint, ...small }));
  expect(result.validationLoss).toBeLessThan(1);
  expect(JSON.parse(await readFile(join(checkpoint, 'merak.json'), 'utf8')).format).toBe('merak-checkpoint');
});

it('names what is wrong', async () => {
  await expect(train('language-model', ['text=/x', 'stepz=3'], {})).rejects.toMatchObject({
    code: 'config/unknown-key',
  });
  await expect(train('language-model', ['text=/nowhere'], {})).rejects.toMatchObject({ code: 'config/invalid' });
  expect(() => trainerByName('nothing')).toThrow(expect.objectContaining({ code: 'trainer/unknown' }));
});
