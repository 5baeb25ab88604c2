/**
 * A worker's watchdog thread: sends heartbeats, and kills its process when the coordinator is gone, both even while
 * the process's own event loop is blocked. `workerData`: the Invitation of src/coordinator/environment.ts, and `beat`, an encoded
 * merak.Beat, so that this thread need not load protobufjs.
 */
import { workerData } from 'node:worker_threads';
import * as grpc from '@grpc/grpc-js';

const BEAT_MILLISECONDS = 500;
/** Time for an orderly end by the main thread, which sees the same loss on its own stream. */
const GRACE_MILLISECONDS = 500;

const { token, address, generation, slot, parent, beat } = workerData;

function die() {
  process.kill(process.pid, 'SIGKILL');
}

setInterval(() => {
  if (process.ppid !== parent) die();
}, BEAT_MILLISECONDS);

const metadata = new grpc.Metadata();
metadata.set('merak-token', token);
metadata.set('merak-generation', String(generation));
metadata.set('merak-slot', String(slot));

const client = new grpc.Client(address, grpc.credentials.createInsecure(), {
  'grpc.enable_http_proxy': 0,
  'grpc.use_local_subchannel_pool': 1,
});
const asIs = (bytes) => bytes;
const call = client.makeBidiStreamRequest('/merak.Coordinator/Pulse', asIs, asIs, metadata);
call.on('data', () => {});
call.on('error', () => setTimeout(die, GRACE_MILLISECONDS));
call.on('end', () => setTimeout(die, GRACE_MILLISECONDS));

const message = Buffer.from(beat);
const send = () => call.write(message);
send();
setInterval(send, BEAT_MILLISECONDS);
