// Commands of `npm run gpu`: each in a process group of its own that is killed as a whole when its time is up.
import { spawn } from 'node:child_process';

/** How long a killed command's descendants may hold its pipes. */
const GRACE_SECONDS = 2;
const running = new Set();

function kill(child) {
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {} // it ended at this very moment
}

/** Ends whatever still runs: for the end of all time. */
export function killAll() {
  for (const child of running) kill(child);
}

/**
 * Standard output of a command that ends within `seconds`; rejects with the end of what it said otherwise. `optional`: undefined on failure.
 * A command that does not go when it is killed (it waits in the driver) is not waited for.
 */
export function runCommand(command, args, { cwd, env, seconds, optional = false }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    let complained = '';
    let isOver = false;
    const finish = (problem) => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      running.delete(child);
      if (problem === undefined) return resolve(printed.trim());
      if (optional) return resolve(undefined);
      const tail = `${complained}\n${printed}`.trim().split('\n').slice(-25).join('\n');
      reject(new Error(`${command} ${problem}: ${tail}`));
    };
    const late = `ended with its time (${Math.round(seconds)} s)`;
    let isLate = false;
    const timer = setTimeout(
      () => {
        isLate = true;
        kill(child);
        setTimeout(() => finish(late), GRACE_SECONDS * 1000).unref();
      },
      Math.max(1, seconds * 1000),
    );
    running.add(child);
    child.stdout.on('data', (data) => {
      printed += data;
    });
    child.stderr.on('data', (data) => {
      complained += data;
    });
    child.on('error', (error) => finish(error.message));
    child.on('close', (status, signal) => {
      // Whom it left behind goes too.
      kill(child);
      finish(isLate ? late : status === 0 ? undefined : `ended with ${signal ?? `status ${status}`}`);
    });
  });
}
