/** Choices by the axes they use: the families whose best members an explanation compares. */
import type { LayoutChoice } from './candidates.js';

export type Family =
  | 'one worker'
  | 'data'
  | 'pipeline'
  | 'tensor'
  | 'pipeline x data'
  | 'tensor x data'
  | 'pipeline x tensor'
  | 'pipeline x tensor x data';

export function familyOf({ mesh }: Pick<LayoutChoice, 'mesh'>): Family {
  const used = [mesh.pp > 1 ? 'pipeline' : '', mesh.tp > 1 ? 'tensor' : '', mesh.dp > 1 ? 'data' : ''];
  const name = used.filter((axis) => axis !== '').join(' x ');
  return (name === '' ? 'one worker' : name) as Family;
}

/** `pp 2 x dp 4, 1f1b, 8 micro-batches of 4, recompute auto` */
export function describeChoice({
  mesh,
  schedule,
  numChunks,
  numMicroBatches,
  microBatchSize,
  recompute,
  shardOptimizer,
  subBatches,
  sequenceParallel,
}: LayoutChoice): string {
  const degrees = (['pp', 'tp', 'dp'] as const).filter((axis) => mesh[axis] > 1).map((axis) => `${axis} ${mesh[axis]}`);
  const parts = [
    degrees.length === 0 ? 'one worker' : degrees.join(' x '),
    ...(mesh.pp > 1 ? [numChunks > 2 ? `${schedule} of ${numChunks} chunks` : schedule] : []),
    `${numMicroBatches} ${numMicroBatches === 1 ? 'micro-batch' : 'micro-batches'} of ${microBatchSize}`,
    ...(recompute === 'none' ? [] : [`recompute ${recompute}`]),
    ...(shardOptimizer ? ['sharded optimizer'] : []),
    ...(subBatches > 1 ? [`${subBatches} sub-batches`] : []),
    ...(sequenceParallel === 'on' ? ['sequence parallel'] : []),
  ];
  return parts.join(', ');
}
