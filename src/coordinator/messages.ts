/** The messages of proto/coordinator.proto as TypeScript sees them after decoding. */
import type { ArenaHandle, LossScaling, StepResult } from '../runtime/device.js';

/** A message whose `kind` names the one field of `Fields` that is set. */
export type OneOf<Fields> = {
  [K in keyof Fields]: { readonly kind: K } & { readonly [P in K]: Fields[P] };
}[keyof Fields];

export type Nothing = Record<never, never>;

export interface Hello {
  readonly pid: number;
  readonly host: string;
  readonly nodeVersion: string;
}

export interface Welcome {
  readonly rank: number;
  readonly numWorkers: number;
  readonly device: string;
  readonly tfjsBackend: string;
  readonly numThreads: number;
  /** That the ranks take turns on; 0 unless `device` is 'cuda'. */
  readonly numGpus: number;
}

export interface Handles {
  readonly handles: readonly ArenaHandle[];
}

/** `moment` -1 is the parameter's value. Offsets in bytes. */
export interface ReadParameter {
  readonly index: number;
  readonly moment: number;
}

export interface ParameterChunk extends ReadParameter {
  readonly dtype: string;
  readonly offset: number;
  readonly total: number;
  readonly data: Uint8Array;
}

export interface WireTensor {
  readonly name: string;
  readonly dtype: string;
  readonly data: Uint8Array;
}

export interface Run {
  readonly executable: string;
  readonly step: number;
  readonly seed: number;
  readonly learningRate: number;
  readonly timeoutSeconds: number;
  readonly inputs: readonly WireTensor[];
  readonly record: boolean;
}

export interface WireResult {
  readonly metrics: Readonly<Record<string, number>>;
  readonly gradientNorm: number;
  readonly outputs: readonly WireTensor[];
  readonly seconds: number;
  readonly waitSeconds: number;
  readonly lossScaling?: StepResult['lossScaling'] | null;
  /** Empty when nothing was recorded. */
  readonly spans: Uint8Array;
}

export interface WireFailure {
  readonly code: string;
  readonly message: string;
  readonly path: string;
  readonly expected: string;
  readonly received: string;
  readonly hint: string;
  readonly stack: string;
}

export interface Relay {
  readonly peer: number;
  readonly channel: string;
  readonly data: Uint8Array;
}

export type CommandKinds = {
  open: Uint8Array;
  load: Uint8Array;
  connect: Handles;
  write: ParameterChunk;
  read: ReadParameter;
  setUpdates: { readonly updates: number; readonly lossScaling?: LossScaling | null };
  run: Run;
  measure: Nothing;
  shutdown: Nothing;
};
export type CommandBody = OneOf<CommandKinds>;
export type Command = { readonly id: number } & CommandBody;

export type ReplyBody = OneOf<{
  done: Nothing;
  handles: Handles;
  parameter: ParameterChunk;
  result: WireResult;
  measured: { readonly bytes: Readonly<Record<string, number>> };
}>;
export type Reply = { readonly id: number } & ReplyBody;

export type FromWorkerBody = OneOf<{
  hello: Hello;
  ready: { readonly device: string };
  reply: Reply;
  failure: WireFailure;
  log: { readonly level: string; readonly text: string };
  relay: Relay;
}>;
export type FromWorker = { readonly generation: number } & FromWorkerBody;

export type ToWorkerBody = OneOf<{
  welcome: Welcome;
  command: Command;
  abort: { readonly reason: string };
  relay: Relay;
}>;
export type ToWorker = { readonly generation: number } & ToWorkerBody;

export interface Beat {
  readonly generation: number;
}
