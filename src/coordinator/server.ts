/** The coordinator's gRPC server: admits workers on 127.0.0.1 and hands their streams on. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { MerakError } from '../errors.js';
import { type Admission, admit, type Membership } from './admission.js';
import type { FromWorker, ToWorkerBody } from './messages.js';
import { beat, CHANNEL_OPTIONS, COORDINATOR_SERVICE, fromWorker, toWorker } from './wire.js';

type BytesStream = grpc.ServerDuplexStream<Buffer, Buffer>;

/** The coordinator's end of a worker's stream. */
export interface WorkerStream {
  send(message: ToWorkerBody): void;
  end(): void;
}

export interface ServerEvents {
  /** A worker was admitted. */
  joined(slot: number, stream: WorkerStream): void;
  message(slot: number, message: FromWorker): void;
  /** Its stream ended, for whatever reason. */
  left(slot: number): void;
  beat(slot: number): void;
}

export interface ControlServer {
  /** '127.0.0.1:port'. */
  readonly address: string;
  close(): void;
}

/** Raises 'config/port-in-use' when the port is taken, 'coordinator/worker-start' when it cannot be bound otherwise. */
export async function startServer(
  options: Membership & { readonly host: string; readonly port: number },
  events: ServerEvents,
): Promise<ControlServer> {
  await assertFree(options.host, options.port);
  const server = new grpc.Server(CHANNEL_OPTIONS);
  const joined = new Set<number>();
  const pulsing = new Set<number>();
  server.addService(COORDINATOR_SERVICE, {
    join: (call: BytesStream) => {
      const slot = admitted(
        call,
        admit(call.metadata, options, (taken) => joined.has(taken)),
      );
      if (slot === undefined) return;
      joined.add(slot);
      serveJoin(call, slot, options.generation, events);
    },
    pulse: (call: BytesStream) => {
      const slot = admitted(
        call,
        admit(call.metadata, options, (taken) => pulsing.has(taken)),
      );
      if (slot === undefined) return;
      pulsing.add(slot);
      servePulse(call, slot, options.generation, events);
    },
  });
  const port = await bind(server, options.host, options.port);
  return { address: `${options.host}:${port}`, close: () => server.forceShutdown() };
}

function admitted(call: BytesStream, admission: Admission): number | undefined {
  if ('slot' in admission) return admission.slot;
  refuse(call, admission.refusal);
  return undefined;
}

function refuse(call: BytesStream, refusal: { readonly code: grpc.status; readonly details: string }): void {
  call.on('error', () => {});
  call.emit('error', Object.assign(new Error(refusal.details), refusal));
}

function serveJoin(call: BytesStream, slot: number, generation: number, events: ServerEvents): void {
  let open = true;
  const leave = (): void => {
    if (open) events.left(slot);
    open = false;
  };
  call.on('data', (bytes: Buffer) => {
    if (!open) return;
    try {
      const message = fromWorker.decode(bytes);
      if (message.generation !== generation) throw new Error(`a message of generation ${message.generation} arrived`);
      events.message(slot, message);
    } catch (error) {
      refuse(call, { code: grpc.status.FAILED_PRECONDITION, details: String(error) });
      leave();
    }
  });
  call.on('end', () => {
    leave();
    call.end();
  });
  call.on('error', leave).on('close', leave).on('cancelled', leave);
  events.joined(slot, {
    send: (message) => {
      if (open) call.write(toWorker.encode({ generation, ...message }));
    },
    end: () => {
      if (open) call.end();
    },
  });
}

function servePulse(call: BytesStream, slot: number, generation: number, events: ServerEvents): void {
  call.on('data', (bytes: Buffer) => {
    if (beat.decode(bytes).generation !== generation) return;
    events.beat(slot);
    call.write(bytes);
  });
  call.on('end', () => call.end()).on('error', () => {});
}

/** gRPC would also notice, but print a complaint of its own. */
async function assertFree(host: string, port: number): Promise<void> {
  if (port === 0) return;
  const probe = createServer().listen({ host, port, exclusive: true });
  try {
    await once(probe, 'listening');
  } catch (cause) {
    throw unusablePort(host, port, cause);
  }
  probe.close();
  await once(probe, 'close');
}

function bind(server: grpc.Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`${host}:${port}`, grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) return resolve(bound);
      server.forceShutdown();
      reject(unusablePort(host, port, error));
    });
  });
}

function unusablePort(host: string, port: number, cause: unknown): MerakError {
  const text = cause instanceof Error ? cause.message : String(cause);
  if (!text.includes('EADDRINUSE')) {
    return new MerakError('coordinator/worker-start', `cannot listen on ${host}:${port}: ${text}`, { cause });
  }
  return new MerakError('config/port-in-use', `port ${port} of ${host} is already in use`, {
    path: 'port',
    hint: 'choose another port, or 0 to take a free one',
  });
}
