/** Linear assignment: shortest augmenting paths with dual variables (Jonker and Volgenant 1987; Crouse 2016). */
import { MerakError } from '../../errors.js';

export interface Assignment {
  /** By row, its column. */
  readonly columns: Int32Array;
  readonly cost: number;
}

/**
 * The one-to-one assignment of rows to columns with the least total cost, O(rows^2 columns). Deterministic.
 *
 * @param cost [rows, columns] row-major, rows <= columns, finite
 * @throws MerakError config/invalid
 */
export function assign(cost: Float32Array | Float64Array, numRows: number, numColumns: number): Assignment {
  check(cost, numRows, numColumns);
  const rowPotential = new Float64Array(numRows);
  const columnPotential = new Float64Array(numColumns);
  const columnOf = new Int32Array(numRows).fill(-1);
  const rowOf = new Int32Array(numColumns).fill(-1);
  const distance = new Float64Array(numColumns);
  const previous = new Int32Array(numColumns);
  const open = new Int32Array(numColumns);
  const reachedRows = new Int32Array(numRows);
  const closed = new Int32Array(numColumns);
  for (let start = 0; start < numRows; start++) {
    distance.fill(Number.POSITIVE_INFINITY);
    let [numOpen, numReached, numClosed] = [numColumns, 0, 0];
    for (let j = 0; j < numColumns; j++) open[j] = numColumns - 1 - j;
    let [row, lowest, sink] = [start, 0, -1];
    while (sink === -1) {
      reachedRows[numReached++] = row;
      const offset = row * numColumns;
      const reduced = lowest - rowPotential[row]!;
      let [least, at] = [Number.POSITIVE_INFINITY, -1];
      for (let k = 0; k < numOpen; k++) {
        const j = open[k]!;
        const through = reduced + cost[offset + j]! - columnPotential[j]!;
        if (through < distance[j]!) {
          distance[j] = through;
          previous[j] = row;
        }
        // Among equals a free column ends the search.
        if (distance[j]! < least || (distance[j]! === least && rowOf[j] === -1)) {
          least = distance[j]!;
          at = k;
        }
      }
      lowest = least;
      const column = open[at]!;
      open[at] = open[--numOpen]!;
      closed[numClosed++] = column;
      if (rowOf[column] === -1) sink = column;
      else row = rowOf[column]!;
    }
    rowPotential[start] = rowPotential[start]! + lowest;
    for (let k = 1; k < numReached; k++) {
      const reached = reachedRows[k]!;
      rowPotential[reached] = rowPotential[reached]! + lowest - distance[columnOf[reached]!]!;
    }
    for (let k = 0; k < numClosed; k++) {
      const column = closed[k]!;
      columnPotential[column] = columnPotential[column]! - lowest + distance[column]!;
    }
    for (let column = sink; column !== -1; ) {
      const from = previous[column]!;
      rowOf[column] = from;
      const next = columnOf[from]!;
      columnOf[from] = column;
      column = from === start ? -1 : next;
    }
  }
  return { columns: columnOf, cost: columnOf.reduce((sum, j, i) => sum + cost[i * numColumns + j]!, 0) };
}

function check(cost: Float32Array | Float64Array, numRows: number, numColumns: number): void {
  const fits = numRows >= 1 && numRows <= numColumns && cost.length === numRows * numColumns;
  if (!fits) {
    throw new MerakError('config/invalid', 'an assignment needs a cost for every pair, and a column for every row', {
      path: 'assign',
      expected: `${numRows * numColumns} costs, at most as many rows as columns`,
      received: `${cost.length} costs of ${numRows} rows and ${numColumns} columns`,
    });
  }
  const bad = cost.findIndex((value) => !Number.isFinite(value));
  if (bad === -1) return;
  throw new MerakError('config/invalid', 'a cost is not finite', {
    path: `assign, row ${Math.floor(bad / numColumns)}, column ${bad % numColumns}`,
    received: String(cost[bad]),
  });
}
