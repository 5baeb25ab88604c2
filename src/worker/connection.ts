/** The worker's end of its stream to the coordinator. */
import * as grpc from '@grpc/grpc-js';
import type { Invitation } from '../coordinator/environment.js';
import type { FromWorkerBody, ToWorker } from '../coordinator/messages.js';
import { asIs, CHANNEL_OPTIONS, fromWorker, JOIN_PATH, METADATA, toWorker } from '../coordinator/wire.js';
import { MerakError } from '../errors.js';

export interface Connection {
  send(message: FromWorkerBody): void;
  /** Ends this side; what was sent still arrives. */
  end(): void;
  /** Resolves when the stream is over: with the error when the coordinator refused or vanished. */
  readonly closed: Promise<MerakError | undefined>;
}

export function metadataOf(invitation: Pick<Invitation, 'token' | 'generation' | 'slot'>): grpc.Metadata {
  const metadata = new grpc.Metadata();
  metadata.set(METADATA.token, invitation.token);
  metadata.set(METADATA.generation, String(invitation.generation));
  metadata.set(METADATA.slot, String(invitation.slot));
  return metadata;
}

/** Dials the coordinator; `receive` gets its messages in order. Messages of another generation are refused. */
export function connect(invitation: Invitation, receive: (message: ToWorker) => void): Connection {
  const { address, generation } = invitation;
  const client = new grpc.Client(address, grpc.credentials.createInsecure(), CHANNEL_OPTIONS);
  const call = client.makeBidiStreamRequest(JOIN_PATH, asIs, asIs, metadataOf(invitation));
  let settle: (error: MerakError | undefined) => void = () => {};
  const closed = new Promise<MerakError | undefined>((resolve) => {
    settle = resolve;
  });
  call.on('data', (bytes: Buffer) => {
    const message = toWorker.decode(bytes);
    if (message.generation === generation) return receive(message);
    call.cancel();
    settle(refused(address, `it is of generation ${message.generation}, this worker of ${generation}`));
  });
  call.on('error', (error: grpc.ServiceError) => settle(refused(address, error.details || error.message)));
  call.on('end', () => settle(undefined));
  return {
    closed: closed.finally(() => client.close()),
    send: (message) => void call.write(fromWorker.encode({ generation, ...message })),
    end: () => call.end(),
  };
}

function refused(address: string, details: string): MerakError {
  return new MerakError('coordinator/protocol', `the coordinator at ${address} ended the connection: ${details}`);
}
