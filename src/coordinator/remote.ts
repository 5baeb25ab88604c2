/** A Cluster over a group of worker processes: each method is one command per rank. */
import { MerakError } from '../errors.js';
import type { Plan } from '../plan/plan.js';
import { encodeRankPlan } from '../plan/serialize.js';
import type { ArenaHandle, StepInput, StepResult } from '../runtime/device.js';
import { arraysFromWire, chunkAssembler, chunksOf, doublesFromBytes, wireTensors } from './arrays.js';
import type { Cluster } from './cluster.js';
import type { WorkerGroup } from './group.js';
import type { Member } from './member.js';
import type { CommandBody, Reply, Run, WireResult } from './messages.js';
import { openSharedArena, type SharedArena } from './sharedArena.js';

/** The engine names the absent rank when its own limit passes; the coordinator's limit comes after that. */
const ENGINE_HEAD_START_SECONDS = 5;

export interface RemoteOptions {
  readonly generation: number;
  readonly logDirectory: string;
  readonly stepTimeoutSeconds: number;
  readonly startTimeoutSeconds: number;
}

export function remoteCluster(group: WorkerGroup, options: RemoteOptions): Cluster {
  const { generation, logDirectory, startTimeoutSeconds } = options;
  const stepSeconds = options.stepTimeoutSeconds + ENGINE_HEAD_START_SECONDS;
  const { members } = group;
  let plan: Pick<Plan, 'ranks'> | undefined;
  let arenas: readonly (SharedArena | undefined)[] = [];
  const closeArenas = (): void => {
    for (const arena of arenas) arena?.close();
    arenas = [];
  };
  // Memory that nobody else holds any more must not hang on this process.
  group.failure.catch(closeArenas);
  /** A worker that is busy takes its commands in order: what concerns it goes by message then. */
  const idleArena = (member: Member, rank: number): SharedArena | undefined =>
    member.occupation === undefined ? arenas[rank] : undefined;

  const everyone = async <T>(
    what: string,
    limit: number,
    bodies: readonly CommandBody[],
    take: (reply: Reply) => T,
  ) => {
    group.assertAlive();
    return Promise.all(members.map(async (member, rank) => take(await member.ask(what, limit, bodies[rank]!))));
  };
  const connect = async (handles: readonly ArenaHandle[]): Promise<void> => {
    const body: CommandBody = { kind: 'connect', connect: { handles } };
    await everyone(
      'connecting arenas',
      startTimeoutSeconds,
      members.map(() => body),
      expectDone,
    );
  };
  const memberOf = (rank: number): Member => {
    group.assertAlive();
    const member = members[rank];
    if (member !== undefined) return member;
    throw new MerakError('coordinator/protocol', `there is no rank ${rank}`, { expected: `0..${members.length - 1}` });
  };

  return {
    numWorkers: members.length,
    generation,
    logDirectory,
    failure: group.failure,

    async open(newPlan) {
      checkNumRanks(newPlan.ranks.length, members.length);
      const bodies = newPlan.ranks.map((rank): CommandBody => ({ kind: 'open', open: encodeRankPlan(rank) }));
      const handles = await everyone('opening the plan', startTimeoutSeconds, bodies, expectHandles);
      await connect(handles.flat());
      closeArenas();
      // Only of processes started here: another host's process may bear the number of one of ours.
      arenas = newPlan.ranks.map((rank, index) =>
        openSharedArena(
          rank,
          handles[index]!.filter(({ pid }) => pid === members[index]!.pid),
        ),
      );
      plan = newPlan;
    },

    async load(executables) {
      if (plan === undefined) throw new MerakError('coordinator/protocol', 'load was called before open');
      checkNumRanks(executables.length, members.length);
      const bodies = plan.ranks.map((rank, index): CommandBody => {
        return { kind: 'load', load: encodeRankPlan({ ...rank, executables: [executables[index]!] }) };
      });
      const handles = await everyone('loading an executable', startTimeoutSeconds, bodies, expectHandles);
      await connect(handles.flat());
    },

    async run(executable, inputs) {
      const bodies = members.map((_, rank): CommandBody => ({ kind: 'run', run: wireRun(executable, inputs(rank)) }));
      const step = bodies[0]?.kind === 'run' ? bodies[0].run.step : 0;
      return everyone(`step ${step} of '${executable}'`, stepSeconds, bodies, expectResult);
    },

    async write(rank, index, kind, data) {
      const member = memberOf(rank);
      if (idleArena(member, rank)?.write(index, kind, data) === true) return;
      const bodies = function* (): Generator<CommandBody> {
        for (const write of chunksOf(index, momentOf(kind), data)) yield { kind: 'write', write };
      };
      await member.askMany(`writing parameter ${index}`, stepSeconds, bodies(), expectDone);
    },

    async read(rank, index, kind) {
      const member = memberOf(rank);
      const shared = idleArena(member, rank)?.read(index, kind);
      if (shared !== undefined) return shared;
      const assembler = chunkAssembler();
      const body: CommandBody = { kind: 'read', read: { index, moment: momentOf(kind) } };
      return member.askMany(`reading parameter ${index}`, stepSeconds, [body], (reply) => {
        if (reply.kind !== 'parameter') throw unexpected(reply, 'parameter');
        return assembler.add(reply.parameter);
      });
    },

    async setUpdates(updates, lossScaling) {
      const state = lossScaling === undefined ? { updates } : { updates, lossScaling };
      const body: CommandBody = { kind: 'setUpdates', setUpdates: state };
      await everyone(
        'setting the number of updates',
        stepSeconds,
        members.map(() => body),
        expectDone,
      );
    },

    async measuredBytes() {
      const body: CommandBody = { kind: 'measure', measure: {} };
      return everyone(
        'measuring memory',
        stepSeconds,
        members.map(() => body),
        (reply) => {
          if (reply.kind === 'measured') return reply.measured.bytes;
          throw unexpected(reply, 'measured');
        },
      );
    },

    async close() {
      closeArenas();
      await group.close();
    },
  };
}

function momentOf(kind: 'value' | number): number {
  return kind === 'value' ? -1 : kind;
}

function wireRun(executable: string, input: StepInput): Run {
  const { step, seed, learningRate, timeoutSeconds, inputs, record = false } = input;
  return { executable, step, seed, learningRate, timeoutSeconds, inputs: wireTensors(inputs), record };
}

function stepResult(wire: WireResult): StepResult {
  const { metrics, gradientNorm, outputs, seconds, waitSeconds, spans, lossScaling } = wire;
  const result = {
    metrics,
    gradientNorm,
    outputs: arraysFromWire(outputs),
    seconds,
    waitSeconds,
    ...(lossScaling && { lossScaling }),
  };
  return spans.byteLength === 0 ? result : { ...result, spans: doublesFromBytes(spans) };
}

function expectDone(reply: Reply): true {
  if (reply.kind === 'done') return true;
  throw unexpected(reply, 'done');
}

function expectHandles(reply: Reply): readonly ArenaHandle[] {
  if (reply.kind === 'handles') return reply.handles.handles;
  throw unexpected(reply, 'handles');
}

function expectResult(reply: Reply): StepResult {
  if (reply.kind === 'result') return stepResult(reply.result);
  throw unexpected(reply, 'result');
}

function unexpected(reply: Reply, expected: string): MerakError {
  return new MerakError('coordinator/protocol', 'a worker answered with the wrong kind of reply', {
    expected,
    received: reply.kind,
  });
}

function checkNumRanks(planned: number, numWorkers: number): void {
  if (planned === numWorkers) return;
  throw new MerakError('config/degrees', `the plan is for ${planned} ranks and the group has ${numWorkers} workers`, {
    expected: `${numWorkers}`,
    received: `${planned}`,
  });
}
