/** A recipe's log and progress bars: short lines for a person, JSON records in log.jsonl. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { SingleBar } from 'cli-progress';
import pino from 'pino';
import type { ProgressBar } from '../context.js';

/** Lines without a terminal: one for each tenth. */
const NUM_LINES = 10;

/** @param quiet only log.jsonl is written */
export function openLog(folder: string, name: string, quiet: boolean): pino.Logger {
  mkdirSync(folder, { recursive: true });
  const file = pino.destination({ dest: join(folder, 'log.jsonl'), append: true, sync: true });
  const person = { write: (record: string) => process.stderr.write(`${name}: ${messageOf(record)}\n`) };
  return pino(
    { level: process.env.MERAK_LOG_LEVEL ?? 'info', base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.multistream([
      { stream: file, level: 'trace' },
      ...(quiet ? [] : [{ stream: person, level: 'info' as const }]),
    ]),
  );
}

function messageOf(record: string): string {
  const { msg, level } = JSON.parse(record) as { msg?: string; level: number };
  return level >= pino.levels.values.warn! ? `${pino.levels.labels[level]}: ${msg}` : String(msg);
}

export function openProgress(log: pino.Logger, label: string, total: number, quiet: boolean): ProgressBar {
  if (!quiet && process.stderr.isTTY === true) {
    const format = `${label} {bar} {value}/{total} | {eta_formatted} left`;
    const bar = new SingleBar({ format, barsize: 28, hideCursor: true, stream: process.stderr });
    bar.start(total, 0);
    return { step: (count = 1) => bar.increment(count), done: () => bar.stop() };
  }
  let done = 0;
  return {
    step(count = 1) {
      const before = Math.floor((done * NUM_LINES) / total);
      done += count;
      if (Math.floor((done * NUM_LINES) / total) > before) log.info(`${label}: ${done} of ${total}`);
    },
    done() {},
  };
}
