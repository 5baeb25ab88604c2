/** The worker group as the rest of Merak drives it, and how to start one on this machine. */
import { randomBytes } from 'node:crypto';
import { MerakError } from '../errors.js';
import type { Executable, Plan } from '../plan/plan.js';
import type { DeviceKind } from '../runtime/createDevice.js';
import type { LossScaling, StepInput, StepResult } from '../runtime/device.js';
import type { Invitation } from './environment.js';
import { WorkerGroup } from './group.js';
import { logFileOf, newLogDirectory } from './logs.js';
import { Member } from './member.js';
import { remoteCluster } from './remote.js';
import { startServer } from './server.js';
import { spawnWorker } from './spawn.js';

/** The ranks of one plan. Every method rejects with the MerakError the group died of. */
export interface Cluster {
  readonly numWorkers: number;
  readonly generation: number;
  /** Where the workers write their logs; undefined for ranks inside this process. */
  readonly logDirectory: string | undefined;
  /** Hands every rank its plan: devices opened, executables loaded, arenas connected. */
  open(plan: Pick<Plan, 'ranks'>): Promise<void>;
  /** Loads one more executable per rank, in rank order. */
  load(executables: readonly Executable[]): Promise<void>;
  /** Runs one step on every rank; results in rank order. May be called again before it resolves: runs queue up. */
  run(executable: string, inputs: (rank: number) => StepInput): Promise<StepResult[]>;
  /** `index` into RankPlan.parameters; the data is the rank's shard. */
  write(rank: number, index: number, kind: 'value' | number, data: Float32Array | Int32Array): Promise<void>;
  read(rank: number, index: number, kind: 'value' | number): Promise<Float32Array | Int32Array>;
  setUpdates(updates: number, lossScaling?: LossScaling): Promise<void>;
  /** Per rank, bytes allocated by arena. */
  measuredBytes(): Promise<Readonly<Record<string, number>>[]>;
  /** Rejects with the first MerakError when the group dies, once no process of it is left. */
  readonly failure: Promise<never>;
  /** Ends the workers after what they were asked. Idempotent. */
  close(): Promise<void>;
}

export interface ClusterOptions {
  readonly numWorkers: number;
  readonly device: DeviceKind;
  /** GPUs that the workers take turns on (device 'cuda'); default 0. */
  readonly numGpus?: number;
  readonly tfjsBackend?: string;
  readonly threadsPerWorker: number;
  /** Base folder: logs go to `<logDirectory>/<timestamp>/worker-<rank>.log`. */
  readonly logDirectory: string;
  readonly startTimeoutSeconds?: number;
  readonly stepTimeoutSeconds?: number;
  /** Silence after which a worker counts as stalled. */
  readonly heartbeatTimeoutSeconds?: number;
  /** Only the loopback address: plans and gradients travel unencrypted. */
  readonly host?: '127.0.0.1';
  /** 0 takes a free one. */
  readonly port?: number;
  /** Takes progress and warnings of workers, a line each; default standard error. */
  readonly log?: (line: string) => void;
}

export const DEFAULT_START_TIMEOUT_SECONDS = 300;
export const DEFAULT_STEP_TIMEOUT_SECONDS = 100;
export const DEFAULT_HEARTBEAT_TIMEOUT_SECONDS = 5;

let lastGeneration = 0;

/** Workers that are being born: `ready` resolves when all have joined and made their device; `abandon` ends them. */
export interface StartingCluster {
  readonly ready: Promise<Cluster>;
  abandon(): Promise<void>;
}

/**
 * Starts the workers as processes of this machine and resolves when all have joined and made their device. Rejects with
 * 'config/invalid', 'config/port-in-use' or 'coordinator/worker-start'; then no process is left.
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  return (await spawnCluster(options)).ready;
}

/** Resolves as soon as the processes run, so that the caller can plan while they load. Rejects as `startCluster`. */
export async function spawnCluster(options: ClusterOptions): Promise<StartingCluster> {
  const { numWorkers, device, threadsPerWorker, host = '127.0.0.1', port = 0 } = options;
  checkOptions(options);
  const started = performance.now();
  const log = options.log ?? ((line) => void process.stderr.write(`merak: ${line}\n`));
  const stepTimeoutSeconds = options.stepTimeoutSeconds ?? DEFAULT_STEP_TIMEOUT_SECONDS;
  const startTimeoutSeconds = options.startTimeoutSeconds ?? DEFAULT_START_TIMEOUT_SECONDS;
  const generation = ++lastGeneration;
  const token = randomBytes(32).toString('hex');
  const group = new WorkerGroup({
    heartbeatTimeoutSeconds: options.heartbeatTimeoutSeconds ?? DEFAULT_HEARTBEAT_TIMEOUT_SECONDS,
    startTimeoutSeconds,
    welcome: {
      numWorkers,
      device,
      tfjsBackend: options.tfjsBackend ?? '',
      numThreads: threadsPerWorker,
      numGpus: options.numGpus ?? 0,
    },
    log,
  });
  const logDirectory = newLogDirectory(options.logDirectory);
  const server = await startServer({ host, port, token, generation, numWorkers }, group);
  const workers = numWorkers === 1 ? '1 worker' : `${numWorkers} workers`;
  log(`starting ${workers} (${device}, ${threadsPerWorker} thread(s) each), logs in ${logDirectory}`);
  const members: Member[] = [];
  try {
    for (let rank = 0; rank < numWorkers; rank++) {
      const invitation: Invitation = { token, address: server.address, generation, slot: rank, parent: process.pid };
      const logFile = logFileOf(logDirectory, rank);
      members.push(new Member(rank, spawnWorker(invitation, threadsPerWorker, logFile), logFile));
    }
  } catch (cause) {
    for (const member of members) member.process.kill('SIGKILL');
    server.close();
    throw new MerakError('coordinator/worker-start', `rank ${members.length} cannot be started: ${cause}`, { cause });
  }
  const gathered = async (): Promise<Cluster> => {
    await group.gather(server, members);
    log(`${workers} ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
    return remoteCluster(group, { generation, logDirectory, stepTimeoutSeconds, startTimeoutSeconds });
  };
  const ready = gathered();
  ready.catch(() => {}); // Whoever awaits it is told.
  return { ready, abandon: () => ready.then((cluster) => cluster.close()).catch(() => {}) };
}

function checkOptions({ numWorkers, threadsPerWorker, host, port = 0 }: ClusterOptions): void {
  const invalid = (path: string, expected: string, received: unknown): MerakError =>
    new MerakError('config/invalid', `the worker group's ${path} is not usable`, {
      path,
      expected,
      received: String(received),
    });
  if (!Number.isInteger(numWorkers) || numWorkers < 1) throw invalid('numWorkers', 'an integer >= 1', numWorkers);
  if (!Number.isInteger(threadsPerWorker) || threadsPerWorker < 1) {
    throw invalid('threadsPerWorker', 'an integer >= 1', threadsPerWorker);
  }
  if (host !== undefined && host !== '127.0.0.1') throw invalid('host', '127.0.0.1', host);
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw invalid('port', 'an integer of 0..65535', port);
}
