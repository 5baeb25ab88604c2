/** The layouts every workload is trained in. */
import type { WrapOptions } from '../../src/index.js';
import type { Workload } from '../models/workload.js';

export interface Layout {
  readonly name: string;
  /** Of all workers together. */
  readonly numThreads: number;
  readonly options: WrapOptions;
  readonly batchSize: number;
}

/** Micro-batches of the pipeline, where the batch has as many samples. */
const MICRO_BATCHES = 8;

/** `dp2` and `pp2` need two samples: a batch of one is doubled for them (throughput is per token all the same). */
export function layoutsOf({ batchSize }: Workload): Layout[] {
  const twoOrMore = Math.max(2, batchSize);
  const microBatches = Math.min(MICRO_BATCHES, twoOrMore);
  return [
    { name: '1 worker, 2 threads', numThreads: 2, options: { dp: 1, threadsPerWorker: 2 }, batchSize },
    { name: '1 worker, 1 thread', numThreads: 1, options: { dp: 1, threadsPerWorker: 1 }, batchSize },
    { name: 'dp2', numThreads: 2, options: { dp: 2, threadsPerWorker: 1 }, batchSize: twoOrMore },
    { name: 'tp2', numThreads: 2, options: { tp: 2, threadsPerWorker: 1 }, batchSize },
    {
      name: `pp2, m=${microBatches}`,
      numThreads: 2,
      options: { pp: 2, microBatches, threadsPerWorker: 1 },
      batchSize: twoOrMore,
    },
  ];
}

/** What a replica of `dp2` does, alone: the measure of its speed-up. */
export function halfBatchLayout({ batchSize }: Workload): Layout {
  const half = Math.max(1, batchSize / 2);
  return {
    name: '1 worker, 1 thread, half the batch',
    numThreads: 1,
    options: { dp: 1, threadsPerWorker: 1 },
    batchSize: half,
  };
}
