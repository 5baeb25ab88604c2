/**
 * A worker's watchdog thread: sends heartbeats, and kills its process when the coordinator is gone, both even while
 * the process's own event loop is blocked. `workerData`: the Invitation of src/coordinator/environment.ts, and `beat`, an encoded
 * merak.Beat. One gRPC stream of beats is a few lines of HTTP/2; a second gRPC client would cost every start some fifty milliseconds of a core.
 */
import { connect } from 'node:http2';
import { workerData } from 'node:worker_threads';

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

const lost = () => setTimeout(die, GRACE_MILLISECONDS);
const session = connect(`http://${address}`).on('error', lost).on('close', lost);
const pulse = session.request(
  {
    ':method': 'POST',
    ':path': '/merak.Coordinator/Pulse',
    'content-type': 'application/grpc+proto',
    te: 'trailers',
    'merak-token': token,
    'merak-generation': String(generation),
    'merak-slot': String(slot),
  },
  { endStream: false },
);
// A refusal is an end without data.
pulse.on('error', lost).on('end', lost).on('close', lost).resume();

/** A gRPC message: not compressed, its length, its bytes. */
const frame = Buffer.alloc(5 + beat.length);
frame.writeUInt32BE(beat.length, 1);
frame.set(beat, 5);
const send = () => pulse.write(frame);
send();
setInterval(send, BEAT_MILLISECONDS);
