/** A worker process: `node worker/main.js`, started by the coordinator with its invitation in the environment. */
import { Worker } from 'node:worker_threads';
import { takeInvitation } from '../coordinator/environment.js';
import { beat } from '../coordinator/wire.js';
import { packageFile, runsSources } from '../packageFiles.js';
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

// Plain JavaScript: worker threads of Node 20 cannot load TypeScript through tsx.
const watchdog = packageFile(runsSources ? 'bin/watchdog.mjs' : 'dist/worker/watchdog.js');
const workerData = { ...invitation, beat: beat.encode({ generation: invitation.generation }) };
new Worker(watchdog, { workerData, execArgv: [] }).unref();

const log = workerLogger(invitation.slot);
process.exit(await serve(invitation, log));
