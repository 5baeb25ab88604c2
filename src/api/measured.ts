/** Parts of a start, in Node's performance timeline. */

/** Runs `work`; how long it took stays as the measure `merak: <part>` (performance.getEntriesByType('measure')). */
export async function measured<T>(part: string, work: () => Promise<T> | T): Promise<T> {
  const start = performance.now();
  try {
    return await work();
  } finally {
    performance.measure(`merak: ${part}`, { start });
  }
}
