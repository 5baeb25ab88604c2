/** A rank's plan on the native engine. */
import { MerakError } from '../../errors.js';
import type { Executable, RankPlan } from '../../plan/plan.js';
import type { ArenaHandle, Device, LossScaling, ParameterArray, StepInput, StepResult } from '../device.js';
import {
  type CollectiveTime,
  type CudaPlace,
  type KernelTime,
  loadAddon,
  type NativeEngine,
  type NativeHandle,
} from './addon.js';
import { toMerakError, translated } from './error.js';

export interface NativeDeviceOptions {
  /** CPU threads of the engine. */
  readonly threads?: number;
  /** The card to compute on; the processor without. */
  readonly cuda?: CudaPlace;
}

/**
 * The engine works on a thread of its own, one call after the other in the order they were made, so that the event loop stays free.
 * Raises engine/unsupported when the addon cannot be loaded.
 */
export class NativeDevice implements Device {
  readonly name: string;
  readonly #threads: number;
  readonly #cuda: CudaPlace | undefined;
  readonly announce: Device['announce'];
  #engine: NativeEngine | null = null;
  /** Inputs that the engine may be reading, by what it calls them. */
  readonly #announced = new Map<StepInput, number>();
  #lastTicket = 0;
  #rank = 0;

  constructor(options: NativeDeviceOptions = {}) {
    this.#threads = options.threads ?? 1;
    this.#cuda = options.cuda;
    this.name = this.#cuda === undefined ? 'native' : `cuda:${this.#cuda.ordinal}`;
    if (this.#cuda !== undefined) this.announce = (executable, input) => this.#announce(executable, input);
  }

  async open(plan: RankPlan): Promise<ArenaHandle[]> {
    const addon = loadAddon();
    this.close();
    return translated(() => {
      const engine = new addon.Engine(plan, {
        threads: this.#threads,
        ...(this.#cuda !== undefined && { cuda: this.#cuda }),
      });
      this.#engine = engine;
      this.#rank = plan.rank;
      return engine.handles().map((handle) => this.#owned(handle));
    });
  }

  async load(executable: Executable): Promise<ArenaHandle[]> {
    return translated(async () => (await this.#open().load(executable)).map((handle) => this.#owned(handle)));
  }

  async connect(handles: readonly ArenaHandle[]): Promise<void> {
    const peers = handles.filter((handle) => handle.rank !== this.#rank);
    await translated(() => this.#open().connect(peers));
  }

  async write(index: number, kind: 'value' | number, data: ParameterArray): Promise<void> {
    await translated(() => this.#open().write(index, momentOf(kind), data));
  }

  async read(index: number, kind: 'value' | number): Promise<Float32Array | Int32Array> {
    const data = await translated(() => this.#open().read(index, momentOf(kind)));
    return data instanceof Int8Array ? Int32Array.from(data) : data;
  }

  setUpdates(updates: number, lossScaling?: LossScaling): void {
    try {
      // Fails only when the engine is closed meanwhile.
      this.#open()
        .setUpdates(updates, lossScaling)
        .catch(() => {});
    } catch (error) {
      throw toMerakError(error);
    }
  }

  async run(executable: string, input: StepInput): Promise<StepResult> {
    const { step, seed, learningRate, timeoutSeconds, record = false } = input;
    const inputs = Object.fromEntries(input.inputs);
    const ticket = this.#announced.get(input) ?? 0;
    try {
      const result = await translated(() =>
        this.#open().run(executable, { step, seed, learningRate, timeoutSeconds, inputs, record, ticket }),
      );
      return { ...result, outputs: new Map(Object.entries(result.outputs)) };
    } finally {
      this.#announced.delete(input);
    }
  }

  #announce(executable: string, input: StepInput): void {
    if (this.#engine === null || this.#announced.has(input)) return;
    try {
      this.#engine.announce(executable, this.#lastTicket + 1, Object.fromEntries(input.inputs));
      this.#announced.set(input, ++this.#lastTicket);
    } catch {
      // What no batch can be is for the run itself to refuse.
    }
  }

  abort(reason: string): void {
    this.#engine?.abort(reason);
  }

  measuredBytes(): Readonly<Record<string, number>> {
    try {
      return this.#open().measuredBytes();
    } catch (error) {
      throw toMerakError(error);
    }
  }

  /** Seconds by kernel since the executables were loaded, for benchmarks and reports. */
  async kernelTimes(): Promise<Readonly<Record<string, KernelTime>>> {
    return translated(() => this.#open().kernelTimes());
  }

  /** The collectives that ran beside computation since the last call. */
  async takeCollectiveTrace(): Promise<readonly CollectiveTime[]> {
    return translated(() => this.#open().takeCollectiveTrace());
  }

  close(): void {
    this.#engine?.close();
    this.#engine = null;
    this.#announced.clear();
  }

  #open(): NativeEngine {
    if (this.#engine !== null) return this.#engine;
    throw new MerakError('engine/not-loaded', 'the native device is not open', { hint: 'call open(plan) first' });
  }

  #owned(handle: NativeHandle): ArenaHandle {
    return { rank: this.#rank, ...handle };
  }
}

/** The addon's number for what `write` and `read` name. */
function momentOf(kind: 'value' | number): number {
  return kind === 'value' ? -1 : kind;
}
