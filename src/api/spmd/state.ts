/** A tensor that stays on the workers of a group between calls. */
import * as tf from '@tensorflow/tfjs';
import { hostArrayOf } from '../../data/hostArray.js';
import { MerakError } from '../../errors.js';
import { shardContext } from '../../kernels/shardContext.js';
import { datalessVariable } from '../../trace/dataless.js';
import type { Placement } from './placement.js';
import type { StateArray, StateRecord, Workers } from './workers.js';

export interface StateOptions {
  /** Needed when there is no `initial`. */
  readonly shape?: readonly number[];
  /** Default float32. */
  readonly dtype?: 'float32' | 'int32';
  /** Default: whole on every worker. */
  readonly placement?: Placement;
  /** Values to begin with; default 0. The tensor is read at once and may be disposed. */
  readonly initial?: tf.Tensor;
}

/** What a state needs of its group: calls in turn, and whether anything runs. */
export interface StateHost {
  readonly workers: Workers;
  enqueue<T>(body: () => Promise<T>): Promise<T>;
}

/** Made by `SpmdGroup.state`. */
export class SpmdState implements StateRecord {
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
  readonly placement: Placement;
  /** By shard. */
  private readonly locals: readonly tf.Variable[];

  constructor(
    readonly name: string,
    options: StateOptions & { readonly placement: Placement },
    private readonly host: StateHost,
  ) {
    const { initial } = options;
    this.shape = [...(options.shape ?? initial?.shape ?? [])];
    this.dtype = stateDtype(name, options.dtype ?? initial?.dtype ?? 'float32');
    this.placement = options.placement;
    if (initial !== undefined) checkLike(this, initial);
    host.workers.declare(this, initial === undefined ? undefined : stateArray(initial));
    this.locals = Array.from({ length: host.workers.options.numShards }, (_, rank) =>
      datalessVariable(host.workers.localShapeOn(this, rank), this.dtype),
    );
  }

  /**
   * This shard's part, inside a function of the group: use it like any variable, and `assign` to it. What is read after
   * an `assign` in the same call is the new value; the workers keep it when the call ends.
   */
  get value(): tf.Variable {
    const { owner, index } = shardContext();
    if (owner !== this.host || index === undefined) {
      throw new MerakError(
        'trace/model',
        `the value of state '${this.name}' is used outside of its group's functions`,
        {
          path: this.name,
          hint: 'use `state.value` inside a function given to group.jit, and `await state.read()` elsewhere',
        },
      );
    }
    return this.locals[index]!;
  }

  /** Whether `variable` is the part of this state that shard `rank` holds. */
  isValueOn(variable: tf.Variable, rank: number): boolean {
    return this.locals[rank] === variable;
  }

  /** The whole tensor, from the workers; yours to dispose. */
  async read(): Promise<tf.Tensor> {
    return tf.tensor(await this.readArray(), [...this.shape], this.dtype);
  }

  /** Its elements, row-major. */
  async readArray(): Promise<StateArray> {
    return this.host.enqueue(() => this.host.workers.read(this));
  }

  /** Replaces the whole tensor, read at once. Raises config/invalid for another shape or dtype. */
  async write(tensor: tf.Tensor): Promise<void> {
    checkLike(this, tensor);
    await this.writeArray(stateArray(tensor));
  }

  async writeArray(data: StateArray | Promise<StateArray>): Promise<void> {
    await this.host.enqueue(async () => this.host.workers.write(this, await data));
  }

  /** Frees what this process keeps of it. */
  dispose(): void {
    for (const variable of this.locals) variable.dispose();
  }
}

/** Read now: the tensor may be disposed afterwards. */
export async function stateArray(tensor: tf.Tensor): Promise<StateArray> {
  return (await hostArrayOf(tensor)) as StateArray;
}

export function stateDtype(name: string, dtype: string): 'float32' | 'int32' {
  if (dtype === 'float32' || dtype === 'int32') return dtype;
  throw new MerakError('config/invalid', `state '${name}' has a dtype that workers cannot keep`, {
    path: name,
    expected: 'float32 or int32',
    received: dtype,
    hint: 'cast it to int32',
  });
}

function checkLike({ name, shape, dtype }: SpmdState, tensor: tf.Tensor): void {
  if (tensor.shape.join() === shape.join() && tensor.dtype === dtype) return;
  throw new MerakError('config/invalid', `state '${name}' is given another kind of tensor`, {
    path: name,
    expected: `${dtype} [${shape.join(', ')}]`,
    received: `${tensor.dtype} [${tensor.shape.join(', ')}]`,
  });
}
