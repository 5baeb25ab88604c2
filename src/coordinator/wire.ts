/** The wire: the messages of proto/coordinator.proto, its encoders and decoders, and the gRPC service definition. */
import type { ServiceDefinition } from '@grpc/grpc-js';
import type protobuf from 'protobufjs';
import { loadSchema } from '../schema.js';
import type { Beat, FromWorker, ToWorker } from './messages.js';

const root = loadSchema('coordinator');

export interface Codec<T> {
  encode(message: T): Buffer;
  /** Byte fields of the result are views of `bytes`. Raises RangeError or Error on bytes that are no such message. */
  decode(bytes: Uint8Array): T;
}

function codec<T extends object>(name: string): Codec<T> {
  const type = root.lookupType(name);
  const toObject = (message: protobuf.Message): { [field: string]: unknown } =>
    type.toObject(message, { longs: Number, defaults: true, oneofs: true });
  return {
    encode(message) {
      const bytes = type.encode(message).finish();
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    decode: (bytes) => toObject(type.decode(bytes)) as T,
  };
}

export const fromWorker = codec<FromWorker>('merak.FromWorker');
export const toWorker = codec<ToWorker>('merak.ToWorker');
export const beat = codec<Beat>('merak.Beat');

/** Metadata keys that every stream carries. */
export const METADATA = { token: 'merak-token', generation: 'merak-generation', slot: 'merak-slot' } as const;

export const JOIN_PATH = '/merak.Coordinator/Join';
export const PULSE_PATH = '/merak.Coordinator/Pulse';

/** Messages are encoded before they are handed to gRPC, which would otherwise do so late, after the data may have changed. */
export const asIs = (bytes: Buffer): Buffer => bytes;

const stream = (path: string) => ({
  path,
  requestStream: true,
  responseStream: true,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
});

export const COORDINATOR_SERVICE: ServiceDefinition = { join: stream(JOIN_PATH), pulse: stream(PULSE_PATH) };

/** Plans and batches are as large as they are; no proxy between two processes of one host. */
export const CHANNEL_OPTIONS = {
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  'grpc.enable_http_proxy': 0,
  'grpc.use_local_subchannel_pool': 1,
};
