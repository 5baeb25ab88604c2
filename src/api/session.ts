/** One wrapped model's life: traced, planned, running on a worker group, stopped. */
import * as tf from '@tensorflow/tfjs';
import type { Progress } from '../checkpoint/format.js';
import { type LaunchContext, launchContext } from '../config/launch.js';
import type { Options } from '../config/schema.js';
import type { Cluster } from '../coordinator/cluster.js';
import type { HostBatch } from '../data/source.js';
import { MerakError } from '../errors.js';
import type { DType } from '../graph/graph.js';
import { workspaceBytes } from '../plan/memoryReport.js';
import type { ParameterPlan } from '../plan/plan.js';
import type { PlanOutcome } from '../planner/outcome.js';
import type { HostArray, StepResult } from '../runtime/device.js';
import type { FieldSpec, TraceMode, UserModel } from '../trace/model.js';
import type { Logs } from './callbacks.js';
import { loadCheckpoint, saveCheckpoint } from './checkpoint.js';
import { type DeviceName, pickDevice, threadsOf } from './device.js';
import { abandonEarly, startEarly } from './earlyWorkers.js';
import { feedOf, type Loaded, reportingRank, splitBatch } from './feed.js';
import { measured } from './measured.js';
import { openCluster } from './openCluster.js';
import { learningRateOf, optimizerPlan } from './optimizer.js';
import { numRanksOf, type Planned, planForCluster, planModel, planVariant } from './planning.js';
import { Profiler } from './profile/profiler.js';
import { Report } from './report.js';
import { pullWeights, pushWeights, readLogical } from './weights.js';

/** One output of `predict`. */
export interface Prediction {
  readonly name: string;
  readonly sampleShape: readonly number[];
  readonly dtype: DType;
  readonly data: HostArray;
}

/** What the data of a call looks like. */
export interface DataShape {
  readonly fields: readonly FieldSpec[];
  readonly batchSize: number;
}

interface Running {
  readonly planned: Planned;
  readonly cluster: Cluster;
  /** Executables by mode and batch size. */
  readonly loaded: Map<string, Promise<Loaded>>;
}

export class Session {
  readonly report: Report;
  readonly launch: LaunchContext | undefined = launchContext();
  /** Where training stands, counting the steps already sent out. */
  progress: Progress;
  private running: Promise<Running> | undefined;
  private lastStep: Promise<unknown> = Promise.resolve();
  private restoreFrom: string | undefined;
  /** Where the next fit begins after a restore; any other fit begins at its own start. */
  private profiler: Profiler | undefined;
  private resumeAt: { readonly epoch: number; readonly batch: number } | undefined;

  constructor(
    readonly model: UserModel,
    readonly options: Options,
    readonly optimizer: tf.Optimizer,
  ) {
    this.report = new Report(options.report);
    this.progress = { step: 0, epoch: 0, batch: 0, updates: 0, seed: options.seed };
  }

  get metricsNames(): readonly string[] {
    if (this.model instanceof tf.LayersModel) return this.model.metricsNames;
    return this.plannedNow?.metricsNames ?? ['loss'];
  }

  private plannedNow: Planned | undefined;

  /** Traces and plans for such data, without starting anything. */
  async plan(shape: DataShape): Promise<Planned> {
    if (this.plannedNow !== undefined) return this.plannedNow;
    const optimizer = optimizerPlan(this.optimizer, this.options.weightDecay);
    this.plannedNow = await planModel(this.model, shape, this.options, optimizer);
    return this.plannedNow;
  }

  /** The plan for this machine, as a command shows it. */
  async outcome(shape: DataShape): Promise<PlanOutcome> {
    const planned = await this.plan(shape);
    this.report.describePlan(planned.plan, this.options.device);
    const { scheduleName: name, mesh } = planned.plan;
    const title = `${name}, pp ${mesh.pp} x tp ${mesh.tp} x dp ${mesh.dp}, ${planned.plan.numMicroBatches} micro-batches`;
    return { title, text: planned.explain(), data: planned.data(), step: planned.step() };
  }

  /** What would be chosen on a cluster elsewhere. */
  planFor(shape: DataShape, cluster: string): PlanOutcome {
    const optimizer = optimizerPlan(this.optimizer, this.options.weightDecay);
    return planForCluster(this.model, shape, this.options, optimizer, cluster);
  }

  /** Plans, starts the workers and hands out the weights, unless that is done. */
  async start(shape: DataShape): Promise<void> {
    this.running ??= this.open(shape);
    await this.running;
  }

  private async open(shape: DataShape): Promise<Running> {
    const { profile } = this.options;
    if (profile !== undefined) this.profiler = new Profiler(profile);
    await startEarly(numRanksOf(this.options, shape.batchSize), this.options);
    const { planned, device } = await this.planOnDevice(shape).catch(async (error) => {
      await abandonEarly();
      throw error;
    });
    const { plan } = planned;
    const threads = threadsOf(this.options, plan.ranks.length);
    const cluster = await openCluster(plan, device, this.options, threads);
    // Every call on the cluster rejects with the same error; this keeps the promise itself from counting as unhandled.
    cluster.failure.catch(() => {});
    const [train] = plan.ranks[0]!.executables;
    const first: Loaded = {
      name: train!.name,
      batchSize: planned.batchSize,
      numMicroBatches: plan.numMicroBatches,
      microBatchSize: plan.microBatchSize,
      everyReplicaSeesAll: false,
      ranks: plan.ranks.map((rank) => rank.executables[0]!),
    };
    const running = {
      planned,
      cluster,
      loaded: new Map([[keyOf('train', planned.batchSize), Promise.resolve(first)]]),
    };
    try {
      if (this.restoreFrom === undefined)
        await measured('hand out weights', () => pushWeights(cluster, plan, planned.variables));
      else this.resume(await loadCheckpoint(cluster, plan, this.restoreFrom));
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return running;
  }

  private async planOnDevice(shape: DataShape): Promise<{ planned: Planned; device: DeviceName }> {
    const planned = await measured('plan', () => this.plan(shape));
    const device = await pickDevice(planned.plan, this.options);
    const { profile, explain } = this.options;
    if (profile !== undefined && device === 'tfjs') throw cannotRecord(profile);
    this.report.describePlan(planned.plan, device);
    if (explain) process.stderr.write(`${planned.explain()}\n`);
    return { planned, device };
  }

  /** Runs one training step; steps called for without waiting run in order. */
  async train(
    batch: HostBatch,
    position: { epoch: number; batch: number; learningRate: ((step: number) => number) | undefined },
  ): Promise<Logs> {
    const { step, updates } = this.progress;
    this.progress = {
      ...this.progress,
      step: step + 1,
      epoch: position.epoch,
      batch: position.batch + 1,
      updates: updates + 1,
    };
    const learningRate = position.learningRate?.(step) ?? learningRateOf(this.optimizer);
    const taken = this.run('train', batch, step, learningRate).then(({ result }) => {
      this.noteLossScaling(step, result.lossScaling);
      return { ...result.metrics };
    });
    this.lastStep = taken;
    return taken;
  }

  /** A step that overflowed was no update. */
  private noteLossScaling(step: number, now: StepResult['lossScaling']): void {
    if (now === undefined) return;
    const { scale, goodSteps, overflowed } = now;
    const updates = this.progress.updates - (overflowed ? 1 : 0);
    this.progress = { ...this.progress, updates, lossScaling: { scale, goodSteps } };
    const { lossScaling = { scale, overflows: [] } } = this.report.data;
    this.report.data.lossScaling = {
      scale,
      overflows: overflowed ? [...lossScaling.overflows, step] : lossScaling.overflows,
    };
    if (overflowed)
      printLine(`merak: step ${step} overflowed float16 and updated nothing; the loss scale is now ${scale}`);
  }

  finishEpoch(epoch: number, stopped: boolean): void {
    if (!stopped) this.progress = { ...this.progress, epoch: epoch + 1, batch: 0 };
  }

  async evaluate(batch: HostBatch): Promise<Logs> {
    const { result } = await this.run('evaluate', batch, this.progress.step, 0);
    return { ...result.metrics };
  }

  async predict(batch: HostBatch): Promise<Prediction[]> {
    const { loaded, results } = await this.run('predict', batch, this.progress.step, 0);
    const { plan } = (await this.current()).planned;
    const first = reportingRank(plan);
    // Each replica predicts its own samples; they line up in replica order.
    const replicas = loaded.everyReplicaSeesAll ? 1 : plan.mesh.dp;
    return loaded.ranks[first]!.outputs.map(({ name, shape, dtype }) => {
      const pieces = Array.from(
        { length: replicas },
        (_, dp) => results[first + dp * plan.mesh.tp]!.outputs.get(name)!,
      );
      return { name, sampleShape: shape.slice(1), dtype, data: concatenate(pieces) };
    });
  }

  private async run(
    mode: TraceMode,
    batch: HostBatch,
    step: number,
    learningRate: number,
  ): Promise<{ loaded: Loaded; result: StepResult; results: StepResult[] }> {
    const running = await this.current();
    const loaded = await this.executable(running, mode, batch);
    const { plan } = running.planned;
    const { seed, stepTimeout: timeoutSeconds } = this.options;
    const profiler = mode === 'train' ? this.profiler : undefined;
    const results = await running.cluster.run(loaded.name, (rank) => ({
      step,
      seed,
      learningRate,
      inputs: feedOf(loaded, plan.ranks[rank]!, batch),
      timeoutSeconds,
      record: profiler !== undefined,
    }));
    profiler?.add(loaded.ranks, results);
    return { loaded, result: results[reportingRank(plan)]!, results };
  }

  /** The executable for batches of this size: made and loaded when first asked for. */
  private executable(running: Running, mode: TraceMode, batch: HostBatch): Promise<Loaded> {
    const key = keyOf(mode, batch.size);
    let loaded = running.loaded.get(key);
    if (loaded === undefined) {
      loaded = this.load(running, mode, batch.size, key);
      running.loaded.set(key, loaded);
    }
    return loaded;
  }

  private async load(running: Running, mode: TraceMode, batchSize: number, name: string): Promise<Loaded> {
    const { plan } = running.planned;
    const split = splitBatch(batchSize, plan.mesh.dp, mode === 'train' ? plan.numMicroBatches : 1);
    const ranks = planVariant(running.planned, mode, split, name);
    await running.cluster.load(ranks);
    return { name, batchSize, ...split, ranks };
  }

  private async current(): Promise<Running> {
    if (this.running === undefined) throw new Error('the session has not been started');
    return this.running;
  }

  /** Logical parameters, once planned. */
  parameters(): readonly ParameterPlan[] {
    return this.plannedNow?.plan.parameters ?? [];
  }

  async readParameter(parameter: number): Promise<Float32Array | Int32Array> {
    const { cluster, planned } = await this.current();
    return readLogical(cluster, planned.plan, parameter, 'value');
  }

  /** Brings trained values back into the user's variables. */
  async pull(): Promise<void> {
    if (this.running === undefined) return;
    const { cluster, planned } = await this.running;
    await pullWeights(cluster, planned.plan, (parameter, data) => {
      const { shape, dtype } = planned.plan.parameters[parameter]!;
      tf.tidy(() => planned.variables[parameter]!.assign(tf.tensor(data, [...shape], dtype)));
    });
  }

  async finishTraining(): Promise<void> {
    await this.pull();
    await this.measure();
    const profile = this.profiler?.finish((await this.current()).planned.plan, printLine);
    if (profile !== undefined) this.report.data.profile = profile;
    await this.report.write();
  }

  /** Planned and measured peaks, for the report. */
  private async measure(): Promise<void> {
    const { cluster, planned, loaded } = await this.current();
    const executables = await Promise.all(loaded.values());
    const measured = await cluster.measuredBytes();
    this.report.data.peakBytes = planned.plan.ranks.map(({ rank, persistentBytes }) => {
      const { control = 0, workspace = 0, ...arenas } = measured[rank]!;
      const own = executables.map((one) => one.ranks[rank]!);
      return {
        rank,
        planned: own.reduce((sum, one) => sum + one.arenaBytes, persistentBytes + workspaceBytes(own)),
        measured: Object.values(arenas).reduce((sum, bytes) => sum + bytes, 0),
        workspace: workspace + control,
      };
    });
  }

  async checkpoint(path: string): Promise<void> {
    const { cluster, planned } = await this.current();
    // Until a step has ended, nobody knows whether it was an update.
    await this.lastStep.catch(() => {});
    await saveCheckpoint(cluster, planned.plan, path, this.progress);
  }

  async restore(path: string): Promise<void> {
    this.restoreFrom = path;
    if (this.running === undefined) return;
    const { cluster, planned } = await this.running;
    this.resume(await loadCheckpoint(cluster, planned.plan, path));
  }

  private resume(progress: Progress): void {
    this.progress = progress;
    this.resumeAt = progress;
  }

  /** The epoch and batch a fit begins at: once where a checkpoint left off, else the start of `initialEpoch`. */
  takeStart(initialEpoch: number): { readonly epoch: number; readonly batch: number } {
    const start = this.resumeAt ?? { epoch: initialEpoch, batch: 0 };
    this.resumeAt = undefined;
    return start;
  }

  async close(): Promise<void> {
    // A start that failed has already said so, and closed what it had opened.
    const running = await this.running?.catch(() => undefined);
    await running?.cluster.close();
    this.running = undefined;
    await this.report.write();
  }
}

function printLine(text: string): void {
  process.stderr.write(`${text}\n`);
}

function cannotRecord(profile: string): MerakError {
  return new MerakError('config/invalid', 'only the native engine records what it does', {
    path: `--profile ${profile}`,
    expected: '--device native',
    received: 'the tfjs runtime',
  });
}

function keyOf(mode: TraceMode, batchSize: number): string {
  return `${mode}@${batchSize}`;
}

function concatenate(pieces: readonly HostArray[]): HostArray {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new (pieces[0]!.constructor as Float32ArrayConstructor)(
    pieces.reduce((sum, piece) => sum + piece.length, 0),
  );
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}
