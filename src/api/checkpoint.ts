/** Saves and loads a running group's state; the files know logical parameters only, so any layout reads any other's. */
import type { Progress } from '../checkpoint/format.js';
import { openCheckpoint } from '../checkpoint/read.js';
import { writeCheckpoint } from '../checkpoint/write.js';
import type { Cluster } from '../coordinator/cluster.js';
import { MerakError } from '../errors.js';
import { numMoments } from '../plan/parameters.js';
import type { Plan } from '../plan/plan.js';
import { readLogical, writeLogical } from './weights.js';

export async function saveCheckpoint(cluster: Cluster, plan: Plan, path: string, progress: Progress): Promise<void> {
  const { optimizer } = plan.ranks[0]!;
  await writeCheckpoint(path, {
    parameters: plan.parameters.map(({ name, shape, dtype, trainable }) => ({
      name,
      shape: [...shape],
      dtype,
      trainable,
    })),
    optimizer: { kind: optimizer.kind, numMoments: numMoments(optimizer) },
    progress,
    value: (parameter) => readLogical(cluster, plan, parameter, 'value'),
    moment: (parameter, moment) => readLogical(cluster, plan, parameter, moment),
  });
}

/** @throws MerakError checkpoint/missing, checkpoint/corrupt, checkpoint/mismatch; before anything is overwritten */
export async function loadCheckpoint(cluster: Cluster, plan: Plan, path: string): Promise<Progress> {
  const checkpoint = await openCheckpoint(path);
  try {
    const { index } = checkpoint;
    const savedNames = matchParameters(plan, index.parameters, path);
    const { optimizer } = plan.ranks[0]!;
    const sameOptimizer =
      index.optimizer.kind === optimizer.kind && index.optimizer.numMoments === numMoments(optimizer);
    for (const [parameter, { trainable }] of plan.parameters.entries()) {
      const name = savedNames[parameter]!;
      await writeLogical(cluster, plan, parameter, 'value', (await checkpoint.value(name)).data);
      if (!sameOptimizer || !trainable) continue;
      for (let moment = 0; moment < index.optimizer.numMoments; moment++) {
        await writeLogical(cluster, plan, parameter, moment, (await checkpoint.moment(name, moment)).data);
      }
    }
    const progress = sameOptimizer ? index.progress : { ...index.progress, updates: 0 };
    await cluster.setUpdates(progress.updates, progress.lossScaling);
    return progress;
  } finally {
    await checkpoint.close();
  }
}

interface SavedParameter {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * The saved name of each parameter: the same name; or, when tfjs's counters named the layers otherwise (a second model in
 * one process), the parameter in the same place, provided every shape agrees.
 */
function matchParameters(plan: Plan, saved: readonly SavedParameter[], path: string): string[] {
  const shapes = new Map(saved.map(({ name, shape }) => [name, shape.join('x')]));
  const differing = plan.parameters.find(({ name, shape }) => shapes.get(name) !== shape.join('x'));
  if (differing === undefined) return plan.parameters.map(({ name }) => name);
  const sameShapes =
    saved.length === plan.parameters.length &&
    saved.every(({ shape }, i) => shape.join('x') === plan.parameters[i]!.shape.join('x'));
  if (sameShapes) return saved.map(({ name }) => name);
  const received = shapes.get(differing.name);
  throw new MerakError(
    'checkpoint/mismatch',
    `the checkpoint is of another model: parameter '${differing.name}' differs`,
    {
      path,
      expected: `[${differing.shape.join(', ')}]`,
      received: received === undefined ? 'not in the checkpoint' : `[${received.split('x').join(', ')}]`,
    },
  );
}
