/** A worker's log: pino records on standard output, which the coordinator has pointed at the rank's log file. */
import pino from 'pino';

export type Logger = pino.Logger;

/** Synchronous, so that the last line before a crash is in the file. MERAK_LOG_LEVEL=debug shows every step. */
export function workerLogger(slot: number): Logger {
  const level = process.env.MERAK_LOG_LEVEL ?? 'info';
  return pino(
    { level, base: { slot, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 1, sync: true }),
  );
}
