/** Initial values of parameters from their recorded initialisers: any shard draws the numbers the whole would. */
import type { Initializer } from './graph.js';
import { draw, drawNormal, drawUniform, fnv1a, type RandomStream, type Region, wordsToNormal } from './philox.js';

/** Initialisers draw as if at this step (docs/kernels.md). */
const INITIALIZER_STEP = 0xffffffff;

/** tfjs and Keras redraw beyond two standard deviations. */
const TRUNCATION = 2;

/** Keeps the redraws of truncated normals apart from each other: each takes the next step down. */
const MAX_REDRAWS = 32;

/** `mean` + `stddev` times the standard normals of a region, as `drawNormal` draws them; undefined: draw them here. */
export type NormalSource = (
  stream: RandomStream,
  region: Region,
  mean: number,
  stddev: number,
) => Float32Array | undefined;

let normalSource: NormalSource = () => undefined;

/** A faster source: a logarithm, a sine and a cosine for every two of a model's weights take JavaScript seconds. */
export function setNormalSource(source: NormalSource): void {
  normalSource = source;
}

/**
 * The initial values of a parameter of shape `shape` called `name`, row-major: all of them, or only those of the box
 * `piece` (its shape and where it starts). `seed` is a non-negative safe integer.
 */
export function initialize(
  initializer: Initializer,
  name: string,
  shape: readonly number[],
  seed: number,
  piece: Pick<Region, 'shape' | 'offsets'> = { shape, offsets: shape.map(() => 0) },
): Float32Array {
  const region: Region = { ...piece, globalShape: shape };
  const stream: RandomStream = { seed, step: INITIALIZER_STEP, node: fnv1a(name) };
  switch (initializer.kind) {
    case 'constant': {
      const size = region.shape.reduce((product, dim) => product * dim, 1);
      return new Float32Array(size).fill(initializer.value);
    }
    case 'uniform': {
      const { low, high } = initializer;
      return drawUniform(stream, region).map((uniform) => low + (high - low) * uniform);
    }
    case 'normal':
      return (
        normalSource(stream, region, initializer.mean, initializer.stddev) ??
        scaled(drawNormal(stream, region), initializer)
      );
    case 'truncatedNormal':
      return scaled(drawTruncated(stream, region), initializer);
  }
}

/** In place: a model's weights are many. */
function scaled(normals: Float32Array, { mean, stddev }: { mean: number; stddev: number }): Float32Array {
  for (let i = 0; i < normals.length; i++) normals[i] = mean + stddev * normals[i]!;
  return normals;
}

/** Standard normals within two deviations: an element outside is taken from the same place of the stream one step down. */
function drawTruncated(stream: RandomStream, region: Region): Float32Array {
  const values = drawNormal(stream, region);
  for (let redraw = 1; redraw <= MAX_REDRAWS; redraw++) {
    if (values.every((value) => Math.abs(value) <= TRUNCATION)) return values;
    const again = draw({ ...stream, step: stream.step - redraw }, region, wordsToNormal);
    for (let i = 0; i < values.length; i++) if (Math.abs(values[i]!) > TRUNCATION) values[i] = again[i]!;
  }
  return values.map((value) => Math.max(-TRUNCATION, Math.min(TRUNCATION, value)));
}
