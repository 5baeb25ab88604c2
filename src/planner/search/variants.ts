/** The winner with one decision taken otherwise: what each technique brings, for the explanation. */
import { canHaveChunks, numChunksOf } from '../../pipeline/registry.js';
import { type LayoutChoice, type Pinned, SCHEDULES } from './candidates.js';
import type { Staged, Timed } from './evaluate.js';

export interface Variant {
  /** 'schedule 1f1b', 'recompute full', 'without sub-batches', ... */
  readonly change: string;
  readonly choice: LayoutChoice;
  /** Infinity when it does not fit. */
  readonly stepSeconds: number;
  readonly peakBytes: number;
}

/** @param price undefined: the model cannot be laid out so. */
export function variantsOf(
  { choice }: Timed,
  pinned: Pinned,
  price: (choice: LayoutChoice) => Timed | Staged | undefined,
): Variant[] {
  const { mesh, schedule, recompute, shardOptimizer, subBatches, sequenceParallel, microBatchSize } = choice;
  const changes: [string, Partial<LayoutChoice>, boolean][] = [
    ...['gpipe', ...SCHEDULES]
      .filter((name) => name !== schedule && canHaveChunks(name, pinned.numChunks ?? numChunksOf(name)))
      .map((name): [string, Partial<LayoutChoice>, boolean] => [
        `schedule ${name}`,
        { schedule: name, numChunks: numChunksOf(name, pinned.numChunks) },
        mesh.pp > 1 && pinned.schedule === undefined,
      ]),
    ...(['none', 'full', 'auto'] as const).map((mode): [string, Partial<LayoutChoice>, boolean] => [
      `recompute ${mode}`,
      { recompute: mode },
      mode !== recompute && pinned.recompute === undefined && !(mode === 'auto' && recompute === 'none'),
    ]),
    [
      shardOptimizer ? 'whole optimizer state' : 'sharded optimizer (ZeRO-1)',
      { shardOptimizer: !shardOptimizer },
      mesh.dp > 1 && pinned.shardOptimizer === undefined,
    ],
    ...[1, 2, 4].map((count): [string, Partial<LayoutChoice>, boolean] => [
      count === 1 ? 'without sub-batches' : `${count} sub-batches`,
      { subBatches: count },
      mesh.tp > 1 && count !== subBatches && microBatchSize % count === 0 && pinned.subBatches === undefined,
    ]),
    [
      sequenceParallel === 'on' ? 'without sequence parallelism' : 'sequence parallelism',
      { sequenceParallel: sequenceParallel === 'on' ? 'off' : 'on' },
      mesh.tp > 1 && pinned.sequenceParallel === undefined,
    ],
  ];
  return changes
    .flatMap(([change, other, isOpen]): Variant[] => {
      const changed = { ...choice, ...other };
      const priced = isOpen ? price(changed) : undefined;
      if (priced === undefined) return [];
      const stepSeconds = 'stepSeconds' in priced ? priced.stepSeconds : Number.POSITIVE_INFINITY;
      return [{ change, choice: changed, stepSeconds, peakBytes: priced.peakBytes }];
    })
    .sort((a, b) => a.stepSeconds - b.stepSeconds || a.peakBytes - b.peakBytes);
}
