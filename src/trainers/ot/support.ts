/** Which entries the sparse part may have. */

/** Entries that are not in use have value 0 and are not live. */
export interface Support {
  readonly rows: Int32Array;
  readonly columns: Int32Array;
  readonly values: Float32Array;
  readonly live: Float32Array;
}

/** Per row its column of least reduced cost, per column its row; the cost each has there. */
export interface Scan {
  readonly rowColumns: Int32Array;
  readonly rowCosts: Float32Array;
  readonly columnRows: Int32Array;
  readonly columnCosts: Float32Array;
}

/**
 * Entries with mass stay; into the room left go the candidates of a scan with negative reduced cost, the most negative
 * first. Sorted by row and column, so that it does not depend on who found what.
 */
export function chooseSupport({ rows, columns, values }: Support, scan: Scan): Support {
  const numColumns = scan.columnRows.length;
  const massOf = new Map<number, number>();
  for (const [e, value] of values.entries()) if (value > 0) massOf.set(rows[e]! * numColumns + columns[e]!, value);
  const candidates: [key: number, cost: number][] = [];
  for (const [i, j] of scan.rowColumns.entries()) candidates.push([i * numColumns + j, scan.rowCosts[i]!]);
  for (const [j, i] of scan.columnRows.entries()) candidates.push([i * numColumns + j, scan.columnCosts[j]!]);
  candidates.sort(([k, a], [l, b]) => a - b || k - l);
  for (const [key, cost] of candidates) {
    if (cost >= 0 || massOf.size >= values.length) break;
    if (!massOf.has(key)) massOf.set(key, 0);
  }
  const keys = [...massOf.keys()].sort((a, b) => a - b);
  const filled = <T extends Int32Array | Float32Array>(into: T, value: (key: number) => number): T => {
    for (const [e, key] of keys.entries()) into[e] = value(key);
    return into;
  };
  return {
    rows: filled(new Int32Array(values.length), (key) => Math.floor(key / numColumns)),
    columns: filled(new Int32Array(values.length), (key) => key % numColumns),
    values: filled(new Float32Array(values.length), (key) => massOf.get(key)!),
    live: filled(new Float32Array(values.length), () => 1),
  };
}
