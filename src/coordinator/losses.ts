/** The errors a group dies of, in words: which rank, which process, what happened, where its log is. */
import { MerakError } from '../errors.js';
import { lastLogLine } from './logs.js';
import type { Member } from './member.js';

/** Exit as node reports it. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

function whereabouts(member: Member): string {
  return `rank ${member.rank}, pid ${member.pid}, host ${member.host}, log ${member.logFile}`;
}

function lastWords(member: Member): { received?: string } {
  const line = lastLogLine(member.logFile) ?? member.lastLog;
  return line === undefined ? {} : { received: `last log line: ${line}` };
}

function during(member: Member): string {
  if (member.state === 'starting') return ' before it joined';
  return member.occupation === undefined ? '' : ` during ${member.occupation}`;
}

const SIGNAL_HINTS: Readonly<Record<string, string>> = {
  SIGKILL: 'somebody killed it, or the kernel did for lack of memory (see dmesg)',
  SIGSEGV: 'a crash in native code: please report it with the log',
  SIGILL: 'a native library was built for another processor: rebuild it here',
  SIGBUS: 'shared memory ran out, or a crash in native code',
};

/** A worker process ended by itself. */
export function processLost(member: Member, exit: Exit): MerakError {
  const how = exit.signal === null ? `exited with code ${exit.code}` : `was killed by ${exit.signal}`;
  const code = member.state === 'starting' ? 'coordinator/worker-start' : 'coordinator/worker-lost';
  const hint = (exit.signal && SIGNAL_HINTS[exit.signal]) ?? 'its log says more';
  return new MerakError(code, `worker rank ${member.rank} (pid ${member.pid}) ${how}${during(member)}`, {
    path: whereabouts(member),
    ...lastWords(member),
    hint,
  });
}

/** The process could not be started at all. */
export function spawnFailed(member: Member, cause: Error): MerakError {
  return new MerakError('coordinator/worker-start', `worker rank ${member.rank} cannot be started: ${cause.message}`, {
    path: whereabouts(member),
    cause,
  });
}

/** Its heartbeats stopped although the process is there. */
export function stalled(member: Member, seconds: number): MerakError {
  return new MerakError(
    'coordinator/worker-lost',
    `worker rank ${member.rank} (pid ${member.pid}) stalled${during(member)}: no heartbeat for ${seconds.toFixed(1)} s`,
    {
      path: whereabouts(member),
      ...lastWords(member),
      hint: 'it was stopped (SIGSTOP), or its machine is overloaded or swapping',
    },
  );
}

/** Its stream broke although the process is there. */
export function streamLost(member: Member): MerakError {
  return new MerakError(
    'coordinator/worker-lost',
    `worker rank ${member.rank} (pid ${member.pid}) lost its connection${during(member)}`,
    { path: whereabouts(member), ...lastWords(member) },
  );
}

export function protocolBroken(member: Member, what: string): MerakError {
  return new MerakError('coordinator/protocol', `worker rank ${member.rank} broke the protocol: ${what}`, {
    path: whereabouts(member),
  });
}

/** Workers that did not answer in time, all named. */
export function overdue(members: readonly Member[], what: string, limitSeconds: number): MerakError {
  return new MerakError('coordinator/timeout', `no answer to ${what} within ${limitSeconds} s from ${named(members)}`, {
    path: members.map(whereabouts).join('; '),
    ...(members.length === 1 ? lastWords(members[0]!) : {}),
    hint: 'a worker is stuck or the limit is too short: see --step-timeout',
  });
}

export function startOverdue(members: readonly Member[], limitSeconds: number): MerakError {
  return new MerakError('coordinator/worker-start', `${named(members)} not ready within ${limitSeconds} s`, {
    path: members.map(whereabouts).join('; '),
    ...(members.length === 1 ? lastWords(members[0]!) : {}),
    hint: 'the machine may be overloaded: see --start-timeout',
  });
}

/** The worker's own error with its whereabouts added. */
export function reported(member: Member, error: MerakError): MerakError {
  const { code, summary, path, expected, received, hint } = error;
  return new MerakError(code, summary, {
    path: path === undefined ? whereabouts(member) : `${path} (${whereabouts(member)})`,
    ...(expected && { expected }),
    ...(received && { received }),
    ...(hint && { hint }),
    cause: error,
  });
}

export function named(members: readonly Member[]): string {
  const ranks = members.map(({ rank }) => rank).join(', ');
  return `${members.length === 1 ? 'rank' : 'ranks'} ${ranks}`;
}

/** Errors that a rank reports because another one is gone: they wait for the cause to show itself. */
export function isConsequence(error: MerakError): boolean {
  return error.code.startsWith('comm/');
}
