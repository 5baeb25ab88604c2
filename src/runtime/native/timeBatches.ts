/** A stopwatch for batches on their way from the caller's memory to a card. */
import { NativeDevice } from './device.js';
import { executableOf, meetingPlan } from './timedProgram.js';

const SIZES = [1 << 16, 1 << 20, 1 << 24, 1 << 26] as const;
const RUNS = 5;

/** Seconds from a step's call to its end, whose only work is to load so many bytes: the fastest of some. Raises engine/no-gpu. */
export async function timeBatches(
  ordinal: number,
  sizes: readonly number[] = SIZES,
): Promise<readonly { readonly bytes: number; readonly seconds: number }[]> {
  const device = new NativeDevice({ cuda: { ordinal } });
  try {
    await device.open(meetingPlan(0, 1));
    const times: { bytes: number; seconds: number }[] = [];
    for (const bytes of sizes) {
      const length = bytes / Float32Array.BYTES_PER_ELEMENT;
      await device.load({
        ...executableOf('batch', [], [{ kind: 'load', micro: 0, slot: 0 }]),
        spaces: [{ space: 'batch', base: 0, bytesPerSlot: bytes, numSlots: 1 }],
        arenaBytes: bytes,
        inputs: [{ name: 'x', shape: [length], dtype: 'float32', offset: 0 }],
      });
      const inputs = new Map([['x', new Float32Array(length).fill(0.5)]]);
      let fastest = Number.POSITIVE_INFINITY;
      for (let step = 0; step < RUNS; step++) {
        const { seconds } = await device.run('batch', { step, seed: 0, learningRate: 0, inputs, timeoutSeconds: 600 });
        fastest = Math.min(fastest, seconds);
      }
      times.push({ bytes, seconds: fastest });
    }
    return times;
  } finally {
    device.close();
  }
}
