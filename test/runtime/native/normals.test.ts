/** Initial weights drawn by the engine are those drawn in JavaScript: whole tensors, and boxes of them. */
import { afterEach, expect, it } from 'vitest';
import { initialize, setNormalSource } from '../../../src/graph/initialize.js';
import { nativeNormals } from '../../../src/runtime/native/normals.js';

afterEach(() => setNormalSource(() => undefined));

const SEED = 2 ** 40 + 17;
const initializer = { kind: 'normal', mean: 0.25, stddev: 0.02 } as const;

for (const [name, shape, piece] of [
  ['a matrix', [301, 97], undefined],
  ['a vector of odd length', [70_001], undefined],
  ['a box within a matrix', [301, 197], { shape: [200, 151], offsets: [3, 45] }],
] as const) {
  it(`${name}: the same floats, but for roundings of the last bit`, () => {
    const here = initialize(initializer, 'w', shape, SEED, piece);
    let asked = 0;
    setNormalSource((...request) => {
      asked++;
      return nativeNormals(...request);
    });
    const engine = initialize(initializer, 'w', shape, SEED, piece);
    expect(asked).toBe(1);
    expect(engine).not.toBe(here);
    expect(engine.length).toBe(here.length);
    // 2^-23 of the largest possible: two libraries' logarithms and cosines agree to the last bit of a double.
    const off = engine.map((value, i) => Math.abs(value - here[i]!));
    expect(off.reduce((a, b) => Math.max(a, b), 0)).toBeLessThanOrEqual(2 ** -24);
    expect(off.filter((value) => value > 0).length).toBeLessThanOrEqual(1);
  });
}

it('leaves few numbers to JavaScript', () => {
  const region = { shape: [10], globalShape: [10], offsets: [0] };
  expect(nativeNormals({ seed: 1, step: 0, node: 0 }, region, 0, 1)).toBeUndefined();
});
