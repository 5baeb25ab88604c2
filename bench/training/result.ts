/** What a training benchmark measures, whoever trains. */
import type { PeakBytes } from '../../src/api/report.js';

export type Precision = 'f32' | 'bf16';
export type Contestant = 'merak' | 'tfjs-wasm' | 'pytorch';

/** As measured. */
export interface Timed {
  readonly stepSeconds: number;
  readonly batchSize: number;
  readonly loss: number;
  /** Merak: planned and measured, of the rank with most. */
  readonly peak?: PeakBytes;
  /** Others: growth of the process's resident memory, at its highest. */
  readonly residentBytes?: number;
}

/** One row of the table. */
export interface TrainingRow extends Timed {
  readonly workload: string;
  readonly contestant: Contestant;
  readonly run: string;
  readonly numThreads: number;
  readonly precision: Precision;
  /** Tokens or images. */
  readonly unitsPerSecond: number;
  /** By the workload's convention. */
  readonly modelFlopsPerSecond: number;
  /** Of oneDNN's matmul of this precision with as many threads, in this run; undefined without that limit. */
  readonly ratioToMatmul?: number;
}

/** What could not be run, and why: shown, never dropped. */
export interface Missing {
  readonly workload: string;
  readonly contestant: Contestant;
  readonly run: string;
  readonly precision: Precision;
  readonly reason: string;
}
