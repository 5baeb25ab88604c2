/** How long a batch takes: the median over rounds in which every model has its turn, so that a slow spell falls on all. */
import type { HostArray } from '../../runtime/device.js';
import type { InferenceEngine } from './engine.js';

export interface LatencyOptions {
  /** Timed runs of each (default 15). */
  readonly rounds?: number;
  /** Runs before them, in which weights are packed and memory is touched (default 2). */
  readonly warmUp?: number;
}

/** Median seconds of one batch, in step with `engines`; the same inputs for all. */
export async function measureLatencies(
  engines: readonly InferenceEngine[],
  inputs: ReadonlyMap<string, HostArray>,
  { rounds = 15, warmUp = 2 }: LatencyOptions = {},
): Promise<number[]> {
  const seconds: number[][] = engines.map(() => []);
  for (let round = -warmUp; round < rounds; round++) {
    for (const [index, engine] of engines.entries()) {
      const start = performance.now();
      await engine.run(inputs);
      if (round >= 0) seconds[index]!.push((performance.now() - start) / 1000);
    }
  }
  return seconds.map(median);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
