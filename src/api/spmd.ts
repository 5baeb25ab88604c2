/** merak.spmd: one function on all workers, each on its rows (single program, multiple data), with state that stays there. */
import { cpus, freemem } from 'node:os';
import type { JsonRecord } from '../checkpoint/format.js';
import { openNamedTensors } from '../checkpoint/read.js';
import { writeNamedTensors } from '../checkpoint/write.js';
import { numGpusWanted, wantsCuda } from '../config/devices.js';
import { launchContext } from '../config/launch.js';
import { parseOptions } from '../config/parse.js';
import type { Options, OptionsInput } from '../config/schema.js';
import { MerakError } from '../errors.js';
import { loadAddon } from '../runtime/native/addon.js';
import { requireGpus } from '../runtime/native/gpus.js';
import type { DeviceName } from './device.js';
import { checkMaxPrograms } from './jit/cache.js';
import { openCluster } from './openCluster.js';
import { type GroupContext, groupFunction, type SpmdFunction, type SpmdFunctionOptions } from './spmd/function.js';
import { replicate } from './spmd/placement.js';
import { type SpmdState, SpmdState as State, type StateHost, type StateOptions } from './spmd/state.js';
import { Workers } from './spmd/workers.js';

export interface SpmdOptions extends OptionsInput {
  /** Compiled programs kept at once, over all functions of the group (default 64); the longest unused goes. */
  readonly maxPrograms?: number;
  /** One worker whatever the flags say: for what must come out the same to the bit in every layout. Default false. */
  readonly alone?: boolean;
}

export interface SpmdGroup {
  /** Workers: each holds one shard. */
  readonly numShards: number;
  /**
   * `fn` as a function that runs on all workers. It is traced once per worker and signature, on that worker's rows; inside
   * it merak.nn's collectives exchange with the other workers. Calls of a group run one after the other.
   */
  jit<Args extends readonly unknown[], Result>(
    fn: (...args: Args) => Result,
    options?: SpmdFunctionOptions,
  ): SpmdFunction<Args, Result>;
  /** A tensor that stays on the workers between calls. Declare states before the first call. */
  state(name: string, options: StateOptions): SpmdState;
  /** Saves every state, and `progress` (plain JSON) with it, in the format of merak.saveState. */
  save(folder: string, progress?: JsonRecord): Promise<void>;
  /** Brings the saved states back, saved by any number of workers, and gives the progress. */
  load(folder: string): Promise<JsonRecord>;
  /** Per worker, bytes foreseen for states and loaded programs, and bytes really allocated by arena. */
  memory(): Promise<{ readonly planned: number[]; readonly measured: Readonly<Record<string, number>>[] }>;
  close(): Promise<void>;
}

/**
 * A group of workers for functions that are not training steps: statistics, solvers, searches. How many is said by the
 * flags of `merak launch` or `merak train` (all workers, whatever mesh they form in training), else by these options;
 * without either everything runs in this process, by the same code and without exchanges.
 *
 * @throws MerakError config/unknown-key, config/invalid, coordinator/worker-start
 * @example
 * const group = await merak.spmd({ workers: 2 });
 * const moments = group.jit((x: tf.Tensor2D) => ({
 *   sum: merak.nn.allReduce(x.sum(0)),
 *   squares: merak.nn.allReduce(tf.matMul(x, x, true)),
 * }), { in: [merak.shard(0)] });
 * const { sum, squares } = await moments(vectors);
 * await group.close();
 */
export async function spmd(options: SpmdOptions = {}): Promise<SpmdGroup> {
  const { maxPrograms = 64, alone = false, ...rest } = options;
  checkMaxPrograms(maxPrograms, 'spmd options');
  const context = launchContext();
  parseOptions(rest, 'spmd options');
  const parsed = parseOptions({ ...rest, ...context?.flags }, 'command line and spmd options');
  const { workers, pp = 1, dp = 1, tp = 1 } = parsed;
  // `merak plan` starts nothing, and `merak verify` compares training: both only pass through here.
  const isGroup = !alone && (context === undefined || context.mode === 'launch');
  const numShards = isGroup ? (workers ?? pp * dp * tp) : 1;
  const device = deviceFor(parsed);
  const threads = parsed.threadsPerWorker ?? Math.max(1, Math.floor(cpus().length / numShards));
  const pool = new Workers({
    numShards,
    maxPrograms,
    memoryLimitBytes: parsed.memoryLimit ?? Math.floor(freemem() / numShards),
    seed: parsed.seed,
    timeoutSeconds: parsed.stepTimeout,
    start: (plan) => openCluster(plan, device, parsed, threads),
  });
  return openGroup(pool, device);
}

function openGroup(workers: Workers, device: DeviceName): SpmdGroup {
  let last: Promise<unknown> = Promise.resolve();
  let closed = false;
  const states = new Map<string, SpmdState>();
  const captured: GroupContext['captured'] = new Map();
  const host: StateHost = {
    workers,
    enqueue(body) {
      const turn = last.then(() => {
        if (!closed) return body();
        throw new MerakError('coordinator/protocol', 'the group is closed', { hint: 'call close last' });
      });
      last = turn.catch(() => {});
      return turn;
    },
  };
  return {
    numShards: workers.options.numShards,
    jit: (fn, options) => groupFunction(fn, options ?? {}, { host, device, states, captured }),
    state(name, options) {
      if (states.has(name)) throw duplicate(name);
      const state = new State(name, { placement: replicate, ...options }, host);
      states.set(name, state);
      return state;
    },
    async save(folder, progress = {}) {
      const entries = [...states.values()];
      await host.enqueue(() =>
        writeNamedTensors(
          folder,
          entries.map(({ name, shape, dtype }) => ({ name, shape: [...shape], dtype })),
          (index) => workers.read(entries[index]!),
          progress,
        ),
      );
    },
    async load(folder) {
      const saved = await openNamedTensors(folder);
      try {
        const all = new Map(saved.tensors.map((tensor) => [tensor.name, tensor]));
        for (const state of states.values()) checkSaved(state, all.get(state.name), folder);
        for (const state of states.values()) {
          const { data } = await saved.read(state.name);
          await state.writeArray(data as Float32Array | Int32Array);
        }
        return saved.progress;
      } finally {
        await saved.close();
      }
    },
    memory: () =>
      host.enqueue(async () => {
        const measured = await workers.measuredBytes();
        return { planned: workers.plannedBytes(), measured };
      }),
    async close() {
      // After the calls made so far.
      const ending = last.then(async () => {
        closed = true;
        for (const state of states.values()) state.dispose();
        await workers.close();
      });
      last = ending.catch(() => {});
      await ending;
    },
  };
}

/** Kernels are not known yet, so that `auto` asks only whether the engine loads; GPUs are used when asked for by name. */
function deviceFor(options: Options): DeviceName {
  const { device: wanted } = options;
  if (wanted === 'tfjs') return 'tfjs';
  if (wantsCuda(options)) {
    requireGpus(numGpusWanted(options));
    return 'cuda';
  }
  try {
    loadAddon();
    return 'native';
  } catch (error) {
    if (wanted === 'native' || !(error instanceof MerakError)) throw error;
    process.stderr.write(`merak: the tfjs runtime steps in for the native engine: ${error.message}\n`);
    return 'tfjs';
  }
}

function checkSaved(
  { name, shape, dtype }: SpmdState,
  saved: { readonly shape: readonly number[]; readonly dtype: string } | undefined,
  folder: string,
): void {
  if (saved?.dtype === dtype && saved.shape.join() === shape.join()) return;
  throw new MerakError('checkpoint/mismatch', `the saved state '${name}' is not the one of this group`, {
    path: folder,
    expected: `${dtype} [${shape.join(', ')}]`,
    received: saved === undefined ? 'nothing of that name' : `${saved.dtype} [${saved.shape.join(', ')}]`,
  });
}

function duplicate(name: string): MerakError {
  return new MerakError('config/invalid', 'two states of a group have the same name', { path: name, received: name });
}
