/** A worker process: `node worker/main.js`, started by the coordinator with its invitation in the environment. */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { takeInvitation } from '../coordinator/environment.js';
import { workerLogger } from './log.js';
import { serve } from './session.js';

const invitation = takeInvitation(process.env);
if (invitation === undefined) {
  process.stderr.write('merak: a worker is started by `merak launch`, not by hand\n');
  process.exit(2);
}
process.title = `merak worker ${invitation.slot}`;

// Ctrl-C reaches the whole foreground group; the coordinator decides what it means.
process.on('SIGINT', () => {});
// The coordinator holds the other end of this pipe and never writes to it.
process.stdin
  .on('end', () => process.exit(1))
  .on('error', () => process.exit(1))
  .resume();

// Plain JavaScript beside bin/merak.mjs: worker threads of Node 20 cannot load TypeScript through tsx.
const watchdog = fileURLToPath(new URL('../../bin/watchdog.mjs', import.meta.url));
new Worker(watchdog, { workerData: invitation, execArgv: [] }).unref();

const log = workerLogger(invitation.slot);
process.exit(await serve(invitation, log));
