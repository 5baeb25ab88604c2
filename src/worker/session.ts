/** A worker's life after joining: make the device, run commands in order, stop on abort. */
import { hostname } from 'node:os';
import type { Invitation } from '../coordinator/environment.js';
import type { Command, ToWorker, Welcome } from '../coordinator/messages.js';
import { asMerakError, failureOf } from '../coordinator/wireError.js';
import { MerakError } from '../errors.js';
import { createDevice } from '../runtime/createDevice.js';
import type { Device } from '../runtime/device.js';
import { type CommandRunner, commandRunner } from './commands.js';
import { connect } from './connection.js';
import type { Logger } from './log.js';
import { type RelayCommunicator, relayCommunicator } from './relayCommunicator.js';

/** Resolves with the process's exit code when the coordinator has no further use for this worker. */
export async function serve(invitation: Invitation, log: Logger): Promise<number> {
  let device: Device | undefined;
  let commands: CommandRunner | undefined;
  let relay: RelayCommunicator | undefined;
  let queue: Promise<void> = Promise.resolve();
  let failed = false;
  let exitCode = 1;

  const connection = connect(invitation, receive);
  const { pid, version: nodeVersion } = process;
  connection.send({ kind: 'hello', hello: { pid, host: hostname(), nodeVersion } });

  /** Reports the first failure and stops working; the coordinator ends the group. */
  const fail = (thrown: unknown): void => {
    const error = asMerakError(thrown);
    log.error({ code: error.code, stack: failureOf(error).stack }, error.message);
    if (!failed) connection.send({ kind: 'failure', failure: failureOf(error) });
    failed = true;
  };
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);

  function receive(message: ToWorker): void {
    switch (message.kind) {
      case 'welcome':
        enqueue(() => start(message.welcome));
        return;
      case 'command':
        arrive(message.command);
        enqueue(() => execute(message.command));
        return;
      case 'relay':
        relay?.deliver(message.relay);
        return;
      case 'abort':
        failed = true;
        log.warn(`aborted by the coordinator: ${message.abort.reason}`);
        abort(message.abort.reason);
        connection.end();
    }
  }

  function arrive(command: Command): void {
    if (failed) return;
    try {
      commands?.arrive(command);
    } catch (thrown) {
      fail(thrown);
    }
  }

  function enqueue(work: () => Promise<void>): void {
    queue = queue.then(async () => {
      if (failed) return;
      try {
        await work();
      } catch (thrown) {
        fail(thrown);
      }
    });
  }

  async function start(welcome: Welcome): Promise<void> {
    const { rank, numWorkers, numThreads, tfjsBackend, numGpus } = welcome;
    relay = relayCommunicator(rank, (message) => connection.send({ kind: 'relay', relay: message }));
    const kind = welcome.device === 'tfjs' || welcome.device === 'cuda' ? welcome.device : 'native';
    try {
      device = await createDevice({
        device: kind,
        tfjsBackend,
        numThreads,
        rank,
        numWorkers,
        numGpus,
        communicator: relay,
      });
    } catch (thrown) {
      throw unusable(kind, rank, asMerakError(thrown, 'coordinator/worker-start'));
    }
    commands = commandRunner(device);
    log.info({ rank, numWorkers, numThreads, device: device.name }, `joined as rank ${rank} on ${device.name}`);
    connection.send({ kind: 'ready', ready: { device: device.name } });
  }

  async function execute(command: Command): Promise<void> {
    const { id, kind } = command;
    const started = performance.now();
    if (commands === undefined)
      throw new MerakError('coordinator/protocol', `command '${kind}' came before the welcome`);
    await commands.run(command, (body) => connection.send({ kind: 'reply', reply: { id, ...body } }));
    log[kind === 'open' || kind === 'load' ? 'info' : 'debug'](
      `${kind} took ${(performance.now() - started).toFixed(1)} ms`,
    );
    if (kind !== 'shutdown') return;
    exitCode = 0;
    connection.end();
  }

  function abort(reason: string): void {
    relay?.abort(reason);
    device?.abort(reason);
  }

  const refusal = await connection.closed;
  if (refusal !== undefined && exitCode !== 0) {
    log.error(refusal.message);
    abort('the coordinator is gone');
  }
  return exitCode;
}

function unusable(kind: string, rank: number, cause: MerakError): MerakError {
  return new MerakError('coordinator/worker-start', `rank ${rank} cannot use the ${kind} device: ${cause.summary}`, {
    path: cause.path,
    expected: cause.expected,
    received: cause.received,
    hint: cause.hint ?? 'run merak doctor',
    cause,
  });
}
