/** Two point clouds with masses: generated, or read from files and checked. */
import * as tf from '@tensorflow/tfjs';
import { MerakError, readers } from '../../index.js';
import type { DataFolder } from '../context.js';
import type { OtConfig } from './config.js';

export interface Cloud {
  readonly size: number;
  readonly dimension: number;
  /** [size, dimension] row-major. */
  readonly coordinates: Float64Array;
  /** [size], positive, together 1. */
  readonly mass: Float64Array;
}

export interface Transport {
  readonly name: string;
  readonly x: Cloud;
  readonly y: Cloud;
  /** Of the distributions the points were drawn from: squared 2-Wasserstein distance. */
  readonly populationCost?: number;
}

/** @throws MerakError trainer/data naming file, line and column */
export async function transportsOf(config: OtConfig, data: DataFolder, seed: number): Promise<Transport[]> {
  if (config.points === 'gaussians') return config.sizes.map(([size, d]) => gaussians(size, d, seed));
  const x = await readCloud(data.path(config.x), config.xMass === '' ? '' : data.path(config.xMass));
  const y = await readCloud(data.path(config.y), config.yMass === '' ? '' : data.path(config.yMass));
  if (x.dimension !== y.dimension) {
    throw new MerakError('trainer/data', 'the two clouds have different dimensions', {
      path: data.path(config.y),
      expected: `${x.dimension} coordinates, as in ${data.path(config.x)}`,
      received: `${y.dimension}`,
    });
  }
  return [{ name: 'files', x, y }];
}

/** W2^2 = |1|^2 + sum_k (1 - s_k)^2 (Givens and Shortt 1984: Gaussians with commuting covariances). */
export function gaussians(size: number, dimension: number, seed: number): Transport {
  const scales = Float64Array.from({ length: dimension }, (_, k) => (dimension === 1 ? 1 : 0.5 + k / (dimension - 1)));
  const normal = (key: number): Float64Array =>
    Float64Array.from(tf.tidy(() => tf.randomNormal([size, dimension], 0, 1, 'float32', key).dataSync()));
  const mass = new Float64Array(size).fill(1 / size);
  const x = { size, dimension, coordinates: normal(2 * seed + 1), mass };
  const moved = normal(2 * seed + 2).map((value, i) => 1 + scales[i % dimension]! * value);
  const populationCost = scales.reduce((sum, scale) => sum + 1 + (1 - scale) ** 2, 0);
  return { name: `n=${size} d=${dimension}`, x, y: { size, dimension, coordinates: moved, mass }, populationCost };
}

async function readCloud(file: string, massFile: string): Promise<Cloud> {
  const [first] = await readers.lines(file);
  const columns = first!.split('\t').map((_, k) => `coordinate ${k + 1}`);
  const rows = await readers.tsv(file, { columns, header: false });
  const coordinates = Float64Array.from(rows.flatMap((row) => columns.map((column) => row.number(column, FINITE))));
  const size = rows.length;
  if (size < 2) throw new MerakError('trainer/data', 'a cloud needs two points at least', { path: file });
  const mass = massFile === '' ? new Float64Array(size).fill(1 / size) : await readMass(massFile, size);
  return { size, dimension: columns.length, coordinates, mass };
}

const FINITE = { min: -Number.MAX_VALUE, max: Number.MAX_VALUE };
/** What a sum of masses written with six digits may be off. */
const MASS_TOLERANCE = 1e-5;

async function readMass(file: string, size: number): Promise<Float64Array> {
  const rows = await readers.tsv(file, { columns: ['mass'], header: false });
  const mass = Float64Array.from(rows, (row) => row.number('mass', { min: Number.MIN_VALUE, max: 1 }));
  const sum = mass.reduce((total, value) => total + value, 0);
  if (mass.length !== size) {
    throw new MerakError('trainer/data', 'every point needs a mass', {
      path: `${file}:${Math.min(mass.length, size) + 1}`,
      expected: `${size} masses`,
      received: `${mass.length}`,
    });
  }
  if (Math.abs(sum - 1) <= MASS_TOLERANCE) return mass.map((value) => value / sum);
  throw new MerakError('trainer/data', 'the masses do not sum to one', {
    path: `${file}, column 1 (mass)`,
    expected: '1',
    received: String(sum),
    hint: 'divide each by their sum',
  });
}
