/** Exact transport between unequal masses: the primal network simplex (Ahuja, Magnanti and Orlin 1993, chapter 11). */
import { MerakError } from '../../errors.js';
import { TransportTree } from './transportTree.js';

export interface ExactPlan {
  /** Entries with mass, at most rows + columns - 1 of them. */
  readonly rows: Int32Array;
  readonly columns: Int32Array;
  readonly mass: Float64Array;
  readonly cost: number;
  /** u_i + v_j <= C_ij for all pairs, equal where there is mass: sum a u + sum b v = cost proves that it is the least. */
  readonly rowPotentials: Float64Array;
  readonly columnPotentials: Float64Array;
}

/** What sums of masses may differ by, and reduced costs be below 0, relative to the sum and to twice the largest cost. */
const TOLERANCE = 1e-11;
/** Tree exchanges per node before it is said not to end; several hundred times what random problems take. */
const MAX_EXCHANGES_PER_NODE = 5000;

/**
 * The plan of least cost that takes masses `a` to masses `b`. Deterministic; some (rows + columns) exchanges, each of which looks
 * at a block of pairs.
 *
 * @param cost [rows, columns] row-major, finite
 * @param a [rows], >= 0
 * @param b [columns], >= 0, with the sum of `a`
 * @throws MerakError config/invalid
 */
export function transport(cost: Float64Array, a: Float64Array, b: Float64Array): ExactPlan {
  check(cost, a, b);
  const [numRows, numColumns] = [a.length, b.length];
  const largest = cost.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  // Two arcs by way of the root cost more than any pair does.
  const rootCost = largest > 0 ? 2 * largest : 1;
  const tree = new TransportTree(a, b, rootCost);
  const { potential } = tree;
  const tolerance = TOLERANCE * rootCost;
  const block = Math.max(numColumns, Math.ceil(Math.sqrt(cost.length)));
  let [row, column, scanned] = [0, 0, 0];
  let [lowest, source, sink] = [-tolerance, -1, -1];
  for (let exchanges = 0; scanned < cost.length; ) {
    // The best pair of a block enters; a whole round without one is the end.
    const end = Math.min(numColumns, column + block);
    for (; column < end; column++, scanned++) {
      const reduced = cost[row * numColumns + column]! + potential[row]! - potential[numRows + column]!;
      if (reduced < lowest) [lowest, source, sink] = [reduced, row, numRows + column];
    }
    if (column === numColumns) [row, column] = [(row + 1) % numRows, 0];
    if (source === -1) continue;
    tree.exchange(source, sink, lowest);
    [lowest, source, sink, scanned] = [-tolerance, -1, -1, 0];
    if (++exchanges > MAX_EXCHANGES_PER_NODE * (numRows + numColumns)) throw unending(exchanges);
  }
  return planOf(tree, cost, numRows, numColumns);
}

function planOf({ parent, flow, potential }: TransportTree, cost: Float64Array, numRows: number, numColumns: number) {
  const root = numRows + numColumns;
  const used = Array.from({ length: root }, (_, node) => node).filter(
    (node) => flow[node]! > 0 && parent[node] !== root,
  );
  const pairOf = (node: number): [number, number] =>
    node < numRows ? [node, parent[node]! - numRows] : [parent[node]!, node - numRows];
  const pairs = used.map(pairOf);
  const mass = Float64Array.from(used, (node) => flow[node]!);
  return {
    rows: Int32Array.from(pairs, ([i]) => i),
    columns: Int32Array.from(pairs, ([, j]) => j),
    mass,
    cost: pairs.reduce((sum, [i, j], e) => sum + mass[e]! * cost[i * numColumns + j]!, 0),
    rowPotentials: potential.slice(0, numRows).map((value) => -value),
    columnPotentials: potential.slice(numRows, root),
  };
}

function check(cost: Float64Array, a: Float64Array, b: Float64Array): void {
  const fail = (message: string, expected: string, received: string) =>
    new MerakError('config/invalid', message, { path: 'transport', expected, received });
  if (a.length === 0 || b.length === 0 || cost.length !== a.length * b.length) {
    const received = `${cost.length} costs of ${a.length} rows and ${b.length} columns`;
    throw fail('transport needs a cost for every pair', `${a.length * b.length} costs, at least one`, received);
  }
  const bad = cost.findIndex((value) => !Number.isFinite(value));
  if (bad !== -1) throw fail('a cost is not finite', 'numbers', `${cost[bad]} at ${bad}`);
  const sum = (mass: Float64Array): number => mass.reduce((total, value) => total + value, 0);
  const wrong = [...a, ...b].find((value) => !(value >= 0 && Number.isFinite(value)));
  if (wrong !== undefined) throw fail('a mass is not a number from 0', 'masses from 0', String(wrong));
  if (Math.abs(sum(a) - sum(b)) > TOLERANCE * Math.max(sum(a), sum(b))) {
    throw fail('the masses of both sides differ', String(sum(a)), String(sum(b)));
  }
}

function unending(exchanges: number): MerakError {
  return new MerakError('config/invalid', 'the network simplex does not end', {
    path: 'transport',
    received: `${exchanges} exchanges`,
    hint: 'masses or costs differ by more than double precision can tell apart',
  });
}
