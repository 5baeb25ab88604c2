/** The training loop: epochs, batches, callbacks, validation. */
import type { BatchSource } from '../data/source.js';
import { type Callbacks, callbackList, type History, LogMean, type Logs, recordEpoch } from './callbacks.js';
import { watchTraining } from './progress.js';
import type { Session } from './session.js';

/** Runs after every `every` steps, while no step is in flight, so that it may checkpoint, evaluate or predict. */
export interface StepHook {
  readonly every: number;
  /** `step`: how many steps the run has made. */
  run(step: number): Promise<void>;
}

/** What `fit` and `fitDataset` share. */
export interface LoopOptions {
  readonly epochs: number;
  readonly initialEpoch: number;
  readonly callbacks: Callbacks | undefined;
  /** 0 prints nothing; 1 shows a progress bar. */
  readonly verbose: number;
  /** Overrides the optimizer's learning rate; `step` counts from 0 over the whole run. */
  readonly learningRate: ((step: number) => number) | undefined;
  /** Asked before each step; true ends training there. */
  readonly stopWhen: ((step: number) => boolean) | undefined;
  readonly validate: (() => Promise<Logs>) | undefined;
  readonly onStep: ((step: number, logs: Logs) => void) | undefined;
  readonly stepHooks: readonly StepHook[];
}

const BATCH_HOOKS = ['onBatchBegin', 'onBatchEnd', 'onYield'] as const;

/** Trains and returns the history. Goes on where a restored checkpoint left off. */
export async function trainingLoop(session: Session, source: BatchSource, options: LoopOptions): Promise<History> {
  const { epochs, callbacks, validate } = options;
  const list = callbackList(callbacks, session.model, {
    epochs,
    verbose: options.verbose,
    batchSize: source.batchSize,
  });
  const history: History = { epoch: [], history: {} };
  const watch = watchTraining(source, epochs, options.verbose > 0, session.report);
  const start = session.takeStart(options.initialEpoch);
  try {
    await list.emit('onTrainBegin');
    for (let epoch = start.epoch; epoch < epochs; epoch++) {
      await list.emit('onEpochBegin', epoch, {});
      const firstBatch = epoch === start.epoch ? start.batch : 0;
      const { logs, stopped } = await trainEpoch(session, source, epoch, firstBatch, list, options, watch.onStep);
      if (validate !== undefined) {
        for (const [key, value] of Object.entries(await validate())) logs[`val_${key}`] = value;
      }
      recordEpoch(history, epoch, logs);
      watch.onEpoch(epoch, logs);
      await list.emit('onEpochEnd', epoch, logs);
      if (stopped || list.stopRequested()) break;
    }
    await list.emit('onTrainEnd');
  } finally {
    watch.stop();
  }
  return history;
}

async function trainEpoch(
  session: Session,
  source: BatchSource,
  epoch: number,
  firstBatch: number,
  list: ReturnType<typeof callbackList>,
  options: LoopOptions,
  onStep: (logs: Logs, size: number, seconds: number) => void,
): Promise<{ logs: Logs; stopped: boolean }> {
  const mean = new LogMean();
  // With callbacks at batches a step must be over before the next begins; else one more is sent ahead.
  const depth = hasBatchHooks(options.callbacks) ? 1 : 2;
  const inFlight: Promise<void>[] = [];
  let stopped = false;
  for (let index = firstBatch; ; index++) {
    if (options.stopWhen?.(session.progress.step) === true) {
      stopped = true;
      break;
    }
    const batch = await source.batch(epoch, index);
    if (batch === null) break;
    await list.emit('onBatchBegin', index, { batch: index, size: batch.size });
    const began = performance.now();
    const { step } = session.progress;
    const result = session.train(batch, { epoch, batch: index, learningRate: options.learningRate });
    const finished = result.then(async (logs) => {
      mean.add(logs, batch.size);
      onStep(logs, batch.size, (performance.now() - began) / 1000);
      options.onStep?.(step, logs);
      await list.emit('onBatchEnd', index, { batch: index, size: batch.size, ...logs });
    });
    // The first failure is the one awaited below; the step sent ahead fails of the same cause.
    finished.catch(() => {});
    inFlight.push(finished);
    const due = options.stepHooks.filter(({ every }) => (step + 1) % every === 0);
    while (inFlight.length >= (due.length > 0 ? 1 : depth)) await inFlight.shift();
    for (const hook of due) await hook.run(step + 1);
    if (list.stopRequested()) break;
  }
  await Promise.all(inFlight);
  session.finishEpoch(epoch, stopped);
  return { logs: mean.mean(), stopped };
}

function hasBatchHooks(callbacks: Callbacks | undefined): boolean {
  const given = callbacks === undefined ? [] : Array.isArray(callbacks) ? callbacks : [callbacks];
  return given.some((callback) =>
    BATCH_HOOKS.some((hook) => typeof (callback as Record<string, unknown>)[hook] === 'function'),
  );
}
