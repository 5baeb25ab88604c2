/** A rank on any tfjs backend: the reference runtime, and the fallback where the native engine cannot be built. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import type { Executable, RankPlan } from '../../plan/plan.js';
import type { HostCommunicator } from '../communicator.js';
import type { ArenaHandle, Device, ParameterArray, StepInput, StepResult } from '../device.js';
import { localCommunicators } from '../localCommunicator.js';
import { backendName, restoreBackend, useBackend } from './backend.js';
import { type CompiledProgram, compile, valuesIn } from './compile.js';
import type { StepContext } from './context.js';
import { makeTensor, numElements, readTensor, tensorDType } from './hostData.js';
import { runStep } from './step.js';
import { createStorage, type Storage } from './storage.js';

export interface TfjsDeviceOptions {
  /** 'cpu' (default), 'wasm', 'tensorflow' (tfjs-node), 'tensorflow-gpu', or any backend already registered. */
  readonly backend?: string | undefined;
  /** Needed when the plan has more than one rank. */
  readonly communicator?: HostCommunicator | undefined;
}

interface Loaded {
  readonly executable: Executable;
  readonly programs: ReadonlyMap<string, CompiledProgram>;
  readonly storage: Storage;
}

/**
 * @example
 * const device = new TfjsDevice({ backend: 'wasm' });
 * await device.open(plan.ranks[0]);
 * await device.load(plan.ranks[0].executables[0]);
 * const { metrics } = await device.run('train', { step: 0, seed: 1, learningRate: 1e-3, inputs, timeoutSeconds: 60 });
 */
export class TfjsDevice implements Device {
  readonly name: string;
  private readonly backend: string;
  private communicator: HostCommunicator | undefined;
  private plan: RankPlan | undefined;
  private readonly loaded = new Map<string, Loaded>();
  private readonly persistent = createStorage();
  private updates = 0;
  private abortReason: string | undefined;
  private running = false;

  constructor({ backend = 'cpu', communicator }: TfjsDeviceOptions = {}) {
    this.backend = backend;
    this.name = `tfjs-${backend}`;
    this.communicator = communicator;
  }

  async open(plan: RankPlan): Promise<ArenaHandle[]> {
    await useBackend(this.backend);
    const numRanks = plan.mesh.pp * plan.mesh.dp * plan.mesh.tp;
    this.communicator ??= numRanks === 1 ? localCommunicators(1)[0] : undefined;
    if (this.communicator === undefined) {
      throw new MerakError('config/invalid', `a plan of ${numRanks} ranks needs a communicator`, {
        path: `rank ${plan.rank}`,
      });
    }
    this.plan = plan;
    for (const { shape, dtype, offset, trainable, gradientOffset, momentOffsets, owned } of plan.parameters) {
      this.persistent.set('parameters', 0, offset, tf.zeros([...shape], tensorDType(dtype)));
      if (trainable && gradientOffset >= 0) this.persistent.set('gradients', 0, gradientOffset, tf.zeros([...shape]));
      const momentShape = owned === undefined ? [...shape] : [owned.end - owned.begin];
      for (const moment of momentOffsets) this.persistent.set('optimizer', 0, moment, tf.zeros(momentShape));
    }
    return this.communicator.open(plan);
  }

  async load(executable: Executable): Promise<ArenaHandle[]> {
    this.opened();
    await useBackend(this.backend);
    const programs = compile(executable, backendName(this.backend));
    const working = createStorage();
    const types = new Map(valuesIn(executable, 'constants').map((value) => [value.offset, value]));
    for (const { offset, data } of executable.constants) {
      const type = types.get(offset);
      if (type !== undefined) working.set('constants', 0, offset, makeTensor(data, type.shape, type.dtype));
    }
    this.loaded.set(executable.name, { executable, programs, storage: combine(this.persistent, working) });
    return [];
  }

  async connect(handles: readonly ArenaHandle[]): Promise<void> {
    this.opened();
    await this.communicator?.connect(handles);
  }

  async write(index: number, kind: 'value' | number, data: ParameterArray): Promise<void> {
    const { space, offset, parameter } = this.place(index, kind);
    const { owned } = parameter;
    const shape = kind === 'value' || owned === undefined ? parameter.shape : [owned.end - owned.begin];
    if (data.length !== numElements(shape)) {
      throw new MerakError('checkpoint/mismatch', `the data for '${parameter.name}' has the wrong size`, {
        expected: `[${shape}]`,
        received: `${data.length} numbers`,
      });
    }
    restoreBackend(this.backend);
    this.persistent.set(space, 0, offset, makeTensor(data, shape, kind === 'value' ? parameter.dtype : 'float32'));
  }

  async read(index: number, kind: 'value' | number): Promise<Float32Array | Int32Array> {
    const { space, offset, parameter } = this.place(index, kind);
    const tensor = this.persistent.get(space, 0, offset);
    if (tensor === undefined) throw new MerakError('plan/invalid', `'${parameter.name}' is not in memory`);
    const data = (await readTensor(tensor)).slice();
    return data instanceof Uint8Array ? Int32Array.from(data) : data;
  }

  setUpdates(updates: number): void {
    this.updates = updates;
  }

  async run(name: string, input: StepInput): Promise<StepResult> {
    const plan = this.opened();
    const loaded = this.loaded.get(name);
    if (loaded === undefined || this.communicator === undefined) {
      throw new MerakError('plan/invalid', `no executable '${name}' is loaded`, {
        path: `rank ${plan.rank}`,
        expected: [...this.loaded.keys()].join(', '),
      });
    }
    if (this.running)
      throw new MerakError('engine/unsupported', 'a step is running already', { path: `rank ${plan.rank}` });
    const context: StepContext = {
      ...loaded,
      plan,
      input,
      backend: this.backend,
      communicator: this.communicator,
      abortReason: () => this.abortReason,
    };
    this.running = true;
    try {
      const { updates, ...result } = await runStep(context, { updates: this.updates });
      this.updates = updates;
      return result;
    } finally {
      this.running = false;
    }
  }

  abort(reason: string): void {
    this.abortReason ??= reason;
    this.communicator?.abort(this.abortReason);
  }

  measuredBytes(): Readonly<Record<string, number>> {
    const executables = [...this.loaded].map(([name, { storage }]) => [name, storage.bytes().workingPeak] as const);
    return { persistent: this.persistent.bytes().persistent, ...Object.fromEntries(executables) };
  }

  close(): void {
    for (const { storage } of this.loaded.values()) storage.dispose();
    this.loaded.clear();
    this.persistent.dispose();
    this.communicator?.close();
    this.plan = undefined;
  }

  private opened(): RankPlan {
    if (this.plan === undefined) throw new MerakError('engine/not-loaded', 'the device is not open');
    return this.plan;
  }

  private place(index: number, kind: 'value' | number) {
    const plan = this.opened();
    const parameter = plan.parameters[index];
    const offset = kind === 'value' ? parameter?.offset : parameter?.momentOffsets[kind];
    if (parameter === undefined || offset === undefined || offset < 0) {
      throw new MerakError('plan/invalid', `there is no parameter ${index} with '${kind}'`, {
        path: `rank ${plan.rank}`,
      });
    }
    return { parameter, offset, space: kind === 'value' ? ('parameters' as const) : ('optimizer' as const) };
  }
}

/** Persistent spaces of all executables in one storage, working spaces in the executable's own. */
function combine(persistent: Storage, working: Storage): Storage {
  const of = (space: Parameters<Storage['get']>[0]) =>
    space === 'parameters' || space === 'gradients' || space === 'optimizer' ? persistent : working;
  return {
    get: (space, slot, offset) => of(space).get(space, slot, offset),
    set: (space, slot, offset, tensor) => of(space).set(space, slot, offset, tensor),
    entries: (space, slot) => of(space).entries(space, slot),
    clear: (space) => of(space).clear(space),
    bytes: () => working.bytes(),
    addScratch: (bytes) => working.addScratch(bytes),
    dispose: () => working.dispose(),
  };
}
