/** The solver's state on the workers: points, factors, multipliers, residuals and the entries of the sparse part. */
import * as tf from '@tensorflow/tfjs';
import { loadState, type SpmdGroup, type SpmdState, saveState, shard } from '../../index.js';
import type { Keeper } from '../context.js';
import type { NormalisedClouds } from './normalise.js';
import type { FactoredPlan } from './plan.js';

export type SolverState = ReturnType<typeof openState>;

/** All by rows: of x (n), of y (m), or of the list of entries. */
export function openState(
  group: SpmdGroup,
  { n, m, dimension: d }: NormalisedClouds,
  { rank, numEntries }: { readonly rank: number; readonly numEntries: number },
) {
  const sharded = (name: string, shape: number[], dtype: 'float32' | 'int32' = 'float32') =>
    group.state(name, { shape, dtype, placement: shard(0) });
  const [x, y] = [sharded('x', [n, d]), sharded('y', [m, d])];
  const [a, b] = [sharded('a', [n]), sharded('b', [m])];
  const [q, r] = [sharded('q', [n, rank]), sharded('r', [m, rank])];
  const [alpha, beta] = [sharded('alpha', [n]), sharded('beta', [m])];
  const [u, v] = [sharded('u', [n]), sharded('v', [m])];
  const capacity = Math.max(numEntries, group.numShards);
  const entries = {
    rows: sharded('rows', [capacity], 'int32'),
    columns: sharded('columns', [capacity], 'int32'),
    values: sharded('values', [capacity]),
    live: sharded('live', [capacity]),
    costs: sharded('costs', [capacity]),
    lipschitz: sharded('lipschitz', [capacity]),
  };
  const iterates = { q, r, alpha, beta, u, v };
  return { points: { x, y }, masses: { a, b }, iterates, entries };
}

/** Points, masses, and random factors near a b'. */
export async function fill(state: SolverState, clouds: NormalisedClouds, rank: number, seed: number): Promise<void> {
  const { points, masses, iterates } = state;
  await points.x.writeArray(clouds.x);
  await points.y.writeArray(clouds.y);
  await masses.a.writeArray(Float32Array.from(clouds.a));
  await masses.b.writeArray(Float32Array.from(clouds.b));
  const q = startingFactor(clouds.a, clouds.m, rank, 2 * seed + 1);
  const r = startingFactor(clouds.b, clouds.n, rank, 2 * seed + 2);
  await iterates.q.write(q);
  await iterates.r.write(r);
  tf.dispose([q, r]);
}

export async function readPlan({ iterates, entries }: SolverState, rank: number): Promise<FactoredPlan> {
  const read = async (state: SpmdState) => Float64Array.from(await state.readArray());
  const rows = (await entries.rows.readArray()) as Int32Array;
  const columns = (await entries.columns.readArray()) as Int32Array;
  const values = await read(entries.values);
  const used = Int32Array.from(values, (_, e) => e).filter((e) => values[e]! > 0);
  return {
    rank,
    q: await read(iterates.q),
    r: await read(iterates.r),
    rows: used.map((e) => rows[e]!),
    columns: used.map((e) => columns[e]!),
    values: Float64Array.from(used, (e) => values[e]!),
  };
}

/** What a resumed run goes on with; points and masses are given again. */
export function keeperOf({ iterates, entries }: SolverState, hasEntries: boolean): Keeper {
  const kept: readonly SpmdState[] = [...Object.values(iterates), ...(hasEntries ? Object.values(entries) : [])];
  return {
    async save(folder) {
      const tensors = await Promise.all(kept.map((state) => state.read()));
      await saveState(`${folder}/solver`, Object.fromEntries(kept.map(({ name }, k) => [name, tensors[k]!])));
      tf.dispose(tensors);
    },
    async load(folder) {
      const { tensors } = await loadState(`${folder}/solver`);
      for (const state of kept) await state.write(tensors[state.name]!);
      tf.dispose(tensors);
    },
  };
}

/** mass_i n^(1/2) / (m rank)^(1/2) times 0.5 to 1.5, so that Q R' is near a b' and both factors have the same size. */
function startingFactor(mass: Float64Array, others: number, rank: number, seed: number): tf.Tensor2D {
  return tf.tidy(() => {
    const size = Math.sqrt(mass.length / (others * rank));
    const noise = tf.randomUniform([mass.length, rank], 0.5, 1.5, 'float32', seed);
    return tf.mul(
      noise,
      tf.tensor2d(
        Float32Array.from(mass, (value) => value * size),
        [mass.length, 1],
      ),
    );
  });
}
