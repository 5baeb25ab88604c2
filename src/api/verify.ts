/** `merak verify`: the same steps in one process and in parallel, compared. */
import type { BatchSource } from '../data/source.js';
import { Session } from './session.js';

/** Largest differences float32 sums in another order explain. */
export const MAX_RELATIVE_LOSS_DIFFERENCE = 1e-5;
export const MAX_PARAMETER_DIFFERENCE = 1e-4;

interface Trained {
  readonly losses: number[];
  readonly parameters: ReadonlyMap<string, Float32Array | Int32Array>;
}

/** Prints the comparison and writes it to the report. Resolves with whether the two runs agree. */
export async function verifyLayout(session: Session, source: BatchSource, numSteps: number): Promise<boolean> {
  const { model, optimizer, options } = session;
  const alone = {
    ...options,
    workers: 1,
    dp: 1,
    tp: 1,
    pp: 1,
    microBatches: 1,
    schedule: '1f1b' as const,
    report: undefined,
    explain: false,
  };
  process.stdout.write(`merak verify: ${numSteps} steps in one process\n`);
  const serial = await trainSteps(new Session(model, alone, optimizer), source, numSteps);
  const planned = await session.plan(source);
  const { pp, dp, tp } = planned.plan.mesh;
  process.stdout.write(
    `merak verify: ${numSteps} steps on pp ${pp} x dp ${dp} x tp ${tp}, ${planned.plan.scheduleName}\n`,
  );
  const parallel = await trainSteps(session, source, numSteps);

  const lossDifference = Math.max(...serial.losses.map((loss, i) => relativeDifference(loss, parallel.losses[i]!)));
  const worst = worstParameter(serial, parallel);
  const agrees = lossDifference <= MAX_RELATIVE_LOSS_DIFFERENCE && worst.difference <= MAX_PARAMETER_DIFFERENCE;
  const { data } = session.report;
  data.losses = parallel.losses;
  data.maxRelativeLossDifference = lossDifference;
  data.maxParameterDifference = worst.difference;
  process.stdout.write(
    [
      'step  one process   parallel',
      ...serial.losses.map(
        (loss, i) => `${String(i).padStart(4)}  ${loss.toFixed(8).padStart(11)}  ${parallel.losses[i]!.toFixed(8)}`,
      ),
      `largest relative loss difference  ${lossDifference.toExponential(2)} (allowed ${MAX_RELATIVE_LOSS_DIFFERENCE.toExponential(0)})`,
      `largest parameter difference      ${worst.difference.toExponential(2)} in ${worst.name} (allowed ${MAX_PARAMETER_DIFFERENCE.toExponential(0)})`,
      agrees ? 'parallel equals serial' : 'PARALLEL DIFFERS FROM SERIAL',
      '',
    ].join('\n'),
  );
  return agrees;
}

async function trainSteps(session: Session, source: BatchSource, numSteps: number): Promise<Trained> {
  await session.start(source);
  try {
    const losses: number[] = [];
    for (let step = 0, epoch = 0, index = 0; step < numSteps; step++, index++) {
      let batch = await source.batch(epoch, index);
      if (batch === null) {
        epoch++;
        index = 0;
        batch = await source.batch(epoch, index);
      }
      const logs = await session.train(batch!, { epoch, batch: index, learningRate: undefined });
      losses.push(logs.loss!);
    }
    const parameters = new Map<string, Float32Array | Int32Array>();
    for (const [i, { name }] of session.parameters().entries()) parameters.set(name, await session.readParameter(i));
    return { losses, parameters };
  } finally {
    await session.close();
  }
}

function worstParameter(serial: Trained, parallel: Trained): { name: string; difference: number } {
  let worst = { name: '', difference: 0 };
  for (const [name, values] of serial.parameters) {
    const other = parallel.parameters.get(name);
    for (let i = 0; i < values.length; i++) {
      const difference = other === undefined ? Number.POSITIVE_INFINITY : Math.abs(values[i]! - other[i]!);
      // A NaN is the worst difference there is.
      if (!(difference <= worst.difference)) worst = { name, difference };
    }
  }
  return worst;
}

function relativeDifference(a: number, b: number): number {
  const difference = Math.abs(a - b) / Math.max(Math.abs(a), Number.MIN_VALUE);
  return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
}
