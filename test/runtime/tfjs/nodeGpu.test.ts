/**
 * `--tfjs-backend tensorflow-gpu`: @tensorflow/tfjs-node-gpu calls its backend 'tensorflow' and registers it when it is imported. It is not
 * on this machine; a module of its name that does the same with the kernels of tfjs's CPU backend shows the way to it.
 */
import * as tf from '@tensorflow/tfjs';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import { expect, it, vi } from 'vitest';
import { useBackend } from '../../../src/runtime/tfjs/backend.js';
import { expectClose, onTfjs, train } from '../fixtures/mlp.js';

const NAME = '@tensorflow/tfjs-node-gpu';

it('is asked for by name where it is not installed', async () => {
  await expect(useBackend('tensorflow-gpu')).rejects.toMatchObject({
    code: 'engine/not-loaded',
    hint: `npm install ${NAME}`,
  });
});

it('is imported, made current and trained on', async () => {
  vi.doMock(NAME, () => {
    tf.registerBackend('tensorflow', () => new MathBackendCPU());
    for (const kernel of tf.getKernelsForBackend('cpu')) tf.registerKernel({ ...kernel, backendName: 'tensorflow' });
    return {};
  });
  const card = await train(onTfjs('tensorflow-gpu'), { numMicroBatches: 2 });
  expect(tf.getBackend()).toBe('tensorflow');
  const cpu = await train(onTfjs('cpu'), { numMicroBatches: 2 });
  expectClose(card.losses, cpu.losses, 1e-6);
});
