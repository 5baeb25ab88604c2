/** What runs a rank's plan: the native engine or any tfjs backend, behind one interface. */
import type { Executable, RankPlan } from '../plan/plan.js';

export type HostArray = Float32Array | Int32Array | Uint8Array;

/** What parameters are written as; int8 ones also as int32. */
export type ParameterArray = Float32Array | Int32Array | Int8Array;

/** Where a peer can find one of this rank's arenas (memfd): opened as /proc/<pid>/fd/<fd>. */
export interface ArenaHandle {
  readonly rank: number;
  /** 'control', 'persistent' or the executable's name. */
  readonly arena: string;
  readonly pid: number;
  readonly fd: number;
  readonly bytes: number;
}

export interface StepInput {
  /** Counts from 0; keys the random numbers. */
  readonly step: number;
  readonly seed: number;
  readonly learningRate: number;
  /** Field name -> this rank's numMicroBatches micro-batches, concatenated along dim 0. */
  readonly inputs: ReadonlyMap<string, HostArray>;
  /** Longest wait for any peer. */
  readonly timeoutSeconds: number;
  /** Asks for `StepResult.spans`. */
  readonly record?: boolean;
}

export interface StepResult {
  /** Mean over micro-batches and the data axis; empty except on the last stage. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Global gradient norm before clipping; NaN when the executable does not train or nothing asks for it (clipNorm 0). */
  readonly gradientNorm: number;
  /** Output name -> all micro-batches concatenated (predict, last stage). */
  readonly outputs: ReadonlyMap<string, HostArray>;
  readonly seconds: number;
  /** Of the next step, where the plan scales its loss; `overflowed`: this one has changed nothing else. */
  readonly lossScaling?: LossScaling & { readonly overflowed: boolean };
  /** Seconds of `seconds` spent waiting for peers. */
  readonly waitSeconds: number;
  /** What happened when, as `decodeSpans` reads it; absent unless asked for, and on devices that do not record. */
  readonly spans?: Float64Array;
}

/** What the loss is multiplied by, and for how many good steps in a row it has been. */
export interface LossScaling {
  readonly scale: number;
  readonly goodSteps: number;
}

/** A rank's executor. Every method rejects with a MerakError. */
export interface Device {
  readonly name: string;
  /** Allocates the persistent arena and the control block. Returns the handles peers need. */
  open(plan: RankPlan): Promise<ArenaHandle[]>;
  /** Allocates and compiles one executable. */
  load(executable: Executable): Promise<ArenaHandle[]>;
  /** Maps the peers' arenas. Called after every open/load of the whole group, with all new handles. */
  connect(handles: readonly ArenaHandle[]): Promise<void>;
  /** `index` into RankPlan.parameters; `kind` 'value' or moment number. The data is the local shard. */
  write(index: number, kind: 'value' | number, data: ParameterArray): Promise<void>;
  read(index: number, kind: 'value' | number): Promise<Float32Array | Int32Array>;
  /** How many updates the optimizer has made (Adam's bias correction), and its loss scale; restored from checkpoints. */
  setUpdates(updates: number, lossScaling?: LossScaling): void;
  run(executable: string, input: StepInput): Promise<StepResult>;
  /**
   * The input of a run to come, called in the order of runs, before or while others run: a card copies its batch meanwhile. A hint, which changes
   * no result; absent where it would not help. Arrays must not change until that run has ended.
   */
  announce?(executable: string, input: StepInput): void;
  /** Makes a run in flight reject with comm/aborted; callable at any time. */
  abort(reason: string): void;
  /** Bytes actually allocated, by arena name. */
  measuredBytes(): Readonly<Record<string, number>>;
  close(): void;
}
