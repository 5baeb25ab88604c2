/** Where workers write, and the last thing they wrote. */
import { closeSync, fstatSync, mkdirSync, openSync, readSync } from 'node:fs';
import { join, resolve } from 'node:path';

const TAIL_BYTES = 8192;

/** Creates `<base>/<timestamp>` and returns its absolute path. */
export function newLogDirectory(base: string, now = new Date()): string {
  const stamp = now.toISOString().replace(/[:.]/g, '-').replace('T', '_').replace('Z', '');
  const directory = resolve(base, `${stamp}-${process.pid}`);
  mkdirSync(directory, { recursive: true });
  return directory;
}

export function logFileOf(directory: string, rank: number): string {
  return join(directory, `worker-${rank}.log`);
}

/** The last line that says something, the message alone where it is a pino record; undefined when there is none. */
export function lastLogLine(file: string): string | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch {
    return undefined;
  }
  try {
    const { size } = fstatSync(descriptor);
    const tail = Buffer.alloc(Math.min(size, TAIL_BYTES));
    readSync(descriptor, tail, 0, tail.length, size - tail.length);
    const lines = tail
      .toString('utf8')
      .split('\n')
      .map((line) => line.trim());
    return lines
      .filter((line) => line !== '')
      .map(messageOf)
      .at(-1);
  } finally {
    closeSync(descriptor);
  }
}

function messageOf(line: string): string {
  if (!line.startsWith('{')) return line;
  try {
    const record: unknown = JSON.parse(line);
    if (typeof record === 'object' && record !== null && 'msg' in record) return String(record.msg);
  } catch {
    // A line cut short by the process's death: shown as it is.
  }
  return line;
}
