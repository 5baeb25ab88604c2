/** The worker group behind merak.spmd: which states it holds, which programs are loaded, and what both take of memory. */

import type { Cluster } from '../../coordinator/cluster.js';
import { MerakError } from '../../errors.js';
import type { DType, Graph } from '../../graph/graph.js';
import { inShards, type ShardContext } from '../../kernels/shardContext.js';
import { formatBytes } from '../../plan/memoryReport.js';
import type { Executable, Mesh, Plan, RankPlan } from '../../plan/plan.js';
import { buildFunctionExecutable, buildStateRank } from '../../planner/buildFunction.js';
import type { HostArray, StepResult } from '../../runtime/device.js';
import { LeastRecentlyUsed } from '../jit/cache.js';
import { checkAgreement } from './agreement.js';
import { joinShards, localShape, type Placement, rangeOf, takeRange } from './placement.js';

/** Float32 and int32 only: parameters of a plan travel as these. */
export type StateArray = Float32Array | Int32Array;

/** A tensor that lives on the workers. */
export interface StateRecord {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: Exclude<DType, 'bool'>;
  readonly placement: Placement;
}

/** One graph per rank; `states[i]` is what the graphs' parameter i is. */
export interface ShardedProgram {
  readonly graphs: readonly Graph[];
  readonly states: readonly (readonly StateRecord[])[];
}

export interface WorkersOptions {
  readonly numShards: number;
  readonly maxPrograms: number;
  /** Bytes a worker may use. */
  readonly memoryLimitBytes: number;
  readonly seed: number;
  readonly timeoutSeconds: number;
  /** Starts the ranks of a plan. */
  readonly start: (plan: Plan) => Promise<Cluster>;
}

interface LoadedProgram {
  readonly name: string;
  readonly executables: readonly Executable[];
}

/** Not to be called before the previous call has settled: the group queues its calls. */
export class Workers {
  private readonly mesh: Mesh;
  private cluster: Cluster | undefined;
  private readonly states: StateRecord[] = [];
  /** Values of states that no worker holds yet. */
  private readonly initial = new Map<StateRecord, Promise<StateArray>>();
  private ranks: readonly RankPlan[] = [];
  private numOpened = 0;
  private readonly loaded: LeastRecentlyUsed<LoadedProgram>;
  private readonly freeNames: string[] = [];
  private readonly unloads: string[] = [];
  private numNames = 0;

  constructor(readonly options: WorkersOptions) {
    this.mesh = { pp: 1, dp: options.numShards, tp: 1 };
    this.loaded = new LeastRecentlyUsed(options.maxPrograms, ({ name }) => void this.unloads.push(name));
  }

  /** States declared after the first call cost a reopening: all others are carried through this process. */
  declare(state: StateRecord, initial?: Promise<StateArray>): void {
    for (let rank = 0; rank < this.options.numShards; rank++) this.rangeOn(state, rank);
    this.states.push(state);
    if (initial === undefined) return;
    initial.catch(() => {});
    this.initial.set(state, initial);
  }

  get declared(): readonly StateRecord[] {
    return this.states;
  }

  /** What a shard's merak.nn calls are told while it is traced. */
  traceShard<T>(index: number, totals: readonly number[], owner: object, body: () => T): T {
    const { numShards } = this.options;
    const cut = this.states.flatMap(({ placement, shape }) =>
      placement.placement === 'shard' ? [shape[placement.dim]!] : [],
    );
    const context: ShardContext = { numShards, index, totals: new Set([...cut, ...totals]), owner };
    return inShards(context, body);
  }

  localShapeOn({ shape, placement, name }: StateRecord, rank: number): number[] {
    return localShape(shape, placement, rangeOf(placement, shape, this.options.numShards, rank, name));
  }

  private rangeOn({ shape, placement, name }: StateRecord, rank: number) {
    return rangeOf(placement, shape, this.options.numShards, rank, name);
  }

  /** Results in rank order. */
  async run(
    key: string,
    program: ShardedProgram,
    inputs: (rank: number) => ReadonlyMap<string, HostArray>,
    step: number,
  ): Promise<StepResult[]> {
    const cluster = await this.open(program);
    const { name } = this.loaded.get(key) ?? (await this.load(cluster, key, program));
    const { seed, timeoutSeconds } = this.options;
    return cluster.run(name, (rank) => ({ step, seed, learningRate: 0, timeoutSeconds, inputs: inputs(rank) }));
  }

  forget(key: string): void {
    this.loaded.delete(key);
  }

  async read(state: StateRecord): Promise<StateArray> {
    const cluster = await this.open();
    const index = this.states.indexOf(state);
    if (state.placement.placement === 'replicate') return cluster.read(0, index, 'value');
    const pieces = await Promise.all(this.ranks.map(({ rank }) => cluster.read(rank, index, 'value')));
    const shapes = this.ranks.map(({ rank }) => this.localShapeOn(state, rank));
    return joinShards(pieces, shapes, state.placement.dim).data;
  }

  async write(state: StateRecord, data: StateArray): Promise<void> {
    await this.put(await this.open(), state, data);
  }

  private async put(cluster: Cluster, state: StateRecord, data: StateArray): Promise<void> {
    const index = this.states.indexOf(state);
    const { placement, shape } = state;
    await Promise.all(
      this.ranks.map(({ rank }) => {
        const range = this.rangeOn(state, rank);
        const piece =
          placement.placement === 'replicate' || range === undefined
            ? data
            : takeRange(data, shape, placement.dim, range);
        return cluster.write(rank, index, 'value', piece);
      }),
    );
  }

  /** The running workers, holding every state declared so far; `next` is what is to be run on them. */
  private async open(next?: ShardedProgram): Promise<Cluster> {
    if (this.cluster !== undefined && this.numOpened === this.states.length) return this.cluster;
    const numOpened = this.numOpened;
    const kept: StateArray[][] = [];
    const ranks = Array.from({ length: this.options.numShards }, (_, rank) =>
      buildStateRank(
        this.mesh,
        rank,
        this.states.map((state) => ({ ...state, shape: this.localShapeOn(state, rank) })),
      ),
    );
    // The forecast of a refusal counts what the program would need besides.
    if (this.excess(ranks, []) !== undefined) {
      this.checkMemory(ranks, next === undefined ? [] : [this.build('forecast', next, ranks)]);
    }
    const plan = planOf(this.mesh, ranks, this.options.seed);
    if (this.cluster === undefined) {
      this.cluster = await this.options.start(plan);
      this.cluster.failure.catch(() => {});
    } else {
      const { cluster } = this;
      for (const { rank } of this.ranks) {
        kept.push(await Promise.all(range(numOpened).map((index) => cluster.read(rank, index, 'value'))));
      }
      this.loaded.clear();
      this.unloads.length = 0;
      this.freeNames.length = 0;
      await cluster.open(plan);
    }
    const { cluster } = this;
    this.ranks = ranks;
    this.numOpened = this.states.length;
    for (const [rank, pieces] of kept.entries()) {
      for (const [index, data] of pieces.entries()) await cluster.write(rank, index, 'value', data);
    }
    for (const state of this.states.slice(numOpened)) {
      const initial = this.initial.get(state);
      this.initial.delete(state);
      if (initial !== undefined) await this.put(cluster, state, await initial);
    }
    return cluster;
  }

  private build(name: string, { graphs, states }: ShardedProgram, ranks: readonly RankPlan[]): LoadedProgram {
    const executables = graphs.map((graph, rank) =>
      buildFunctionExecutable(
        name,
        graph,
        ranks[rank]!,
        states[rank]!.map((state) => ranks[rank]!.parameters[this.states.indexOf(state)]!),
      ),
    );
    checkAgreement(executables);
    return { name: executables[0]!.name, executables };
  }

  private async load(cluster: Cluster, key: string, given: ShardedProgram): Promise<LoadedProgram> {
    const program = this.build(this.freeNames.pop() ?? `program-${this.numNames++}`, given, this.ranks);
    this.makeRoom(program);
    await this.unload(cluster);
    await cluster.load(program.executables);
    this.loaded.set(key, program);
    await this.unload(cluster);
    return program;
  }

  /** Lets go of programs, the longest unused first, until `program` fits; raises plan/out-of-memory if it never does. */
  private makeRoom(program: LoadedProgram): void {
    const all = (): LoadedProgram[] => [...this.loaded.values(), program];
    while (this.loaded.size > 0 && this.excess(this.ranks, all()) !== undefined) this.loaded.deleteOldest();
    this.checkMemory(this.ranks, all());
  }

  /** An empty program in a program's place frees its arena. */
  private async unload(cluster: Cluster): Promise<void> {
    for (const name of this.unloads.splice(0)) {
      await cluster.load(this.ranks.map((rank) => buildFunctionExecutable(name, EMPTY, rank, [])));
      this.freeNames.push(name);
    }
  }

  /** The first rank that states and programs do not fit, and their bytes there. */
  private excess(ranks: readonly RankPlan[], programs: readonly LoadedProgram[]) {
    const needs = ranks.map((plan) => {
      const arenas = programs.reduce((sum, { executables }) => sum + executables[plan.rank]!.arenaBytes, 0);
      return { plan, arenas, bytes: plan.persistentBytes + arenas };
    });
    return needs.find(({ bytes }) => bytes > this.options.memoryLimitBytes);
  }

  private checkMemory(ranks: readonly RankPlan[], programs: readonly LoadedProgram[]): void {
    const found = this.excess(ranks, programs);
    if (found === undefined) return;
    const { plan, arenas, bytes } = found;
    const { memoryLimitBytes } = this.options;
    const states = plan.parameters.map(({ name, shape }) => ({ name, bytes: 4 * shape.reduce((a, b) => a * b, 1) }));
    const largest = states.sort((a, b) => b.bytes - a.bytes).slice(0, 3);
    throw new MerakError('plan/out-of-memory', 'the states and programs need more memory than a worker has', {
      path: `rank ${plan.rank}`,
      expected: `at most ${formatBytes(memoryLimitBytes)} (${memoryLimitBytes} bytes)`,
      received: `${formatBytes(bytes)} (${bytes} bytes): ${[
        ...largest.map((state) => `state '${state.name}' ${formatBytes(state.bytes)}`),
        `working memory ${formatBytes(arenas)}`,
      ].join(', ')}`,
      hint: 'use more workers, shard what is replicated, or work in blocks of rows',
    });
  }

  /** Per rank, bytes the plan foresees: states, and the working memory of the programs that are loaded. */
  plannedBytes(): number[] {
    return this.ranks.map(({ rank, persistentBytes }) =>
      this.loaded.values().reduce((sum, { executables }) => sum + executables[rank]!.arenaBytes, persistentBytes),
    );
  }

  async measuredBytes(): Promise<Readonly<Record<string, number>>[]> {
    return (await this.open()).measuredBytes();
  }

  get logDirectory(): string | undefined {
    return this.cluster?.logDirectory;
  }

  async close(): Promise<void> {
    const { cluster } = this;
    this.cluster = undefined;
    await cluster?.close();
  }
}

const EMPTY: Graph = { values: [], nodes: [], inputs: [], parameters: [], constants: [], outputs: [], updates: [] };

function planOf(mesh: Mesh, ranks: readonly RankPlan[], seed: number): Plan {
  return {
    mesh,
    scheduleName: 'function',
    numMicroBatches: 1,
    microBatchSize: 1,
    seed,
    parameters: [],
    schedule: [],
    stages: [],
    ranks,
  };
}

function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}
