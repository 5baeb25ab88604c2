/** Parameters in the arena of a worker's engine, from outside: the engine and the file must agree. */
import { expect, it } from 'vitest';
import { openSharedArena } from '../../src/coordinator/sharedArena.js';
import type { RankPlan } from '../../src/plan/plan.js';
import { NativeDevice } from '../../src/runtime/native/device.js';

/** A matrix with two moments of which this rank owns the middle, and an int32 vector, at odd places. */
const plan: RankPlan = {
  rank: 0,
  coordinates: { pp: 0, dp: 0, tp: 0 },
  mesh: { pp: 1, dp: 1, tp: 1 },
  groups: [],
  parameters: [
    {
      parameter: 0,
      name: 'matrix',
      shape: [3, 4],
      dtype: 'float32',
      trainable: true,
      offset: 64,
      gradientOffset: 0,
      momentOffsets: [128, 192],
      owned: { begin: 2, end: 9 },
      countsInNorm: true,
      decays: true,
    },
    {
      parameter: 1,
      name: 'counts',
      shape: [5],
      dtype: 'int32',
      trainable: false,
      offset: 0,
      gradientOffset: -1,
      momentOffsets: [],
      countsInNorm: false,
      decays: false,
    },
  ],
  persistentSpaces: [
    { space: 'parameters', base: 256, slotBytes: [128] },
    { space: 'gradients', base: 0, slotBytes: [64] },
    { space: 'optimizer', base: 1024, slotBytes: [256] },
  ],
  persistentBytes: 4096,
  gradientBuckets: [],
  stateBuckets: [],
  optimizer: { kind: 'adam', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
  clipNorm: 0,
  executables: [],
};

const CASES: readonly [number, 'value' | number, Float32Array | Int32Array][] = [
  [0, 'value', Float32Array.from({ length: 12 }, (_, i) => i + 0.5)],
  [0, 0, Float32Array.from({ length: 7 }, (_, i) => -i)],
  [0, 1, Float32Array.from({ length: 7 }, (_, i) => 100 + i)],
  [1, 'value', Int32Array.from([1, -2, 3, -4, 5])],
];

it('what one writes the other reads, everywhere', async () => {
  const device = new NativeDevice();
  const arena = openSharedArena(plan, await device.open(plan));
  try {
    for (const [index, kind, data] of CASES) expect(arena?.write(index, kind, data)).toBe(true);
    for (const [index, kind, data] of CASES) expect(await device.read(index, kind)).toEqual(data);
    for (const [index, kind, data] of CASES) await device.write(index, kind, data.slice().reverse());
    for (const [index, kind, data] of CASES) expect(arena?.read(index, kind)).toEqual(data.slice().reverse());
  } finally {
    arena?.close();
    device.close();
  }
});

it('leaves to messages what does not fit', async () => {
  const device = new NativeDevice();
  const arena = openSharedArena(plan, await device.open(plan));
  try {
    expect(arena?.write(0, 'value', new Float32Array(11))).toBe(false);
    expect(arena?.write(0, 'value', new Int32Array(12))).toBe(false);
    expect(arena?.write(0, 2, new Float32Array(7))).toBe(false);
    expect(arena?.read(2, 'value')).toBeUndefined();
  } finally {
    arena?.close();
    device.close();
  }
});

it('leaves to messages the large moments that are private to the worker', async () => {
  const numElements = 1 << 19;
  const large: RankPlan = {
    ...plan,
    parameters: [{ ...plan.parameters[0]!, shape: [numElements], offset: 0, momentOffsets: [0], owned: undefined }],
    persistentSpaces: [
      { space: 'parameters', base: 0, slotBytes: [4 * numElements] },
      { space: 'gradients', base: 4 * numElements, slotBytes: [4 * numElements] },
      { space: 'optimizer', base: 8 * numElements, slotBytes: [4 * numElements] },
    ],
    persistentBytes: 12 * numElements,
    optimizer: { kind: 'momentum', momentum: 0.9, nesterov: false },
  };
  const data = Float32Array.from({ length: numElements }, (_, i) => i);
  const device = new NativeDevice();
  const handles = await device.open(large);
  const arena = openSharedArena(large, handles);
  try {
    expect(handles.find(({ arena }) => arena === 'persistent')?.bytes).toBe(8 * numElements);
    expect(arena?.write(0, 'value', data)).toBe(true);
    expect(arena?.write(0, 0, data)).toBe(false);
    expect(arena?.read(0, 0)).toBeUndefined();
    await device.write(0, 0, data);
    // Numbers by the hundred thousand: bytes are compared in no time.
    for (const read of [await device.read(0, 0), arena?.read(0, 'value')])
      expect(Buffer.from(read!.buffer).equals(Buffer.from(data.buffer))).toBe(true);
  } finally {
    arena?.close();
    device.close();
  }
});

it('is not there without an arena to open', () => {
  const handle = { rank: 0, arena: 'persistent', pid: process.pid, fd: 9999, bytes: 4096 };
  expect(openSharedArena(plan, [])).toBeUndefined();
  expect(openSharedArena(plan, [handle])).toBeUndefined();
  // Standard input is a file, but no arena.
  expect(openSharedArena(plan, [{ ...handle, fd: 0 }])).toBeUndefined();
});
