/** Loss and metrics over a source, weighted by samples. */
import type { BatchSource } from '../data/source.js';
import { LogMean, type Logs } from './callbacks.js';
import type { Session } from './session.js';

export async function evaluateSource(session: Session, source: BatchSource): Promise<Logs> {
  await session.start(source);
  const mean = new LogMean();
  for (let index = 0; ; index++) {
    const batch = await source.batch(0, index);
    if (batch === null) break;
    mean.add(await session.evaluate(batch), batch.size);
  }
  const logs = mean.mean();
  session.report.data.evaluation = logs;
  return logs;
}
