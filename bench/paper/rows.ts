/** The paper's four models on its cluster, in simulation: a Megatron-like baseline, then one technique after the other. */
import { ADAM, GPT_SIZES, gptTracer } from '../../src/launcher/planModel.js';
import { shardGraph } from '../../src/partitioner/shardGraph.js';
import { stageStarts } from '../../src/planner/balance.js';
import { candidateChoices, type LayoutChoice, type Pinned } from '../../src/planner/search/candidates.js';
import { clusterCosts } from '../../src/planner/search/cluster.js';
import { parseCluster } from '../../src/planner/search/clusterSpec.js';
import { type Staged, stage, time } from '../../src/planner/search/evaluate.js';
import { describeChoice } from '../../src/planner/search/family.js';
import { type ScheduleCache, settledSchedule } from '../../src/planner/search/schedules.js';
import { searchLayout } from '../../src/planner/search/searchLayout.js';
import { makeTables, type Tables } from '../../src/planner/search/tables.js';

/** 16 hosts of four RTX 3090 and 100 Gb/s InfiniBand: what is believed of the paper's cluster. */
export const CLUSTER = '16x4:rtx3090:ib100';
export const BATCH_SIZE = 256;
/** Speed-ups the paper's abstract claims over the best of its baselines. */
export const CLAIMED: Readonly<Record<string, number>> = { '1.5b': 1.42, '2.5b': 1.39, '8.3b': 1.43, '20b': 1.61 };

export interface Row {
  readonly technique: string;
  readonly layout: string;
  readonly stepSeconds: number;
  readonly tokensPerSecond: number;
  readonly bubble: number;
  readonly peakBytes: number;
}

const MEGATRON: Pinned = {
  schedule: '1f1b',
  recompute: 'full',
  shardOptimizer: false,
  subBatches: 1,
  sequenceParallel: 'off',
};

/** Larger micro-batches than this only lengthen a baseline's pipeline: a sample takes no less. */
const LARGEST_BASELINE_SIZE = 4;

/** Each adds to the one before; the first four are the paper's. */
export const TECHNIQUES: readonly { readonly technique: string; readonly pinned: Pinned }[] = [
  { technique: 'stages balanced by cost', pinned: MEGATRON },
  { technique: '+ stage-aware recomputation', pinned: { ...MEGATRON, recompute: 'auto' } },
  { technique: '+ shifted critical path', pinned: { ...MEGATRON, recompute: 'auto', schedule: 'scp' } },
  {
    technique: '+ sub-pipelined tensor parallelism',
    pinned: { ...MEGATRON, recompute: 'auto', schedule: 'scp', subBatches: undefined },
  },
  {
    technique: '+ sequence parallelism',
    pinned: { recompute: 'auto', schedule: 'scp', shardOptimizer: false },
  },
  { technique: '+ sharded optimizer (ZeRO-1)', pinned: { recompute: 'auto', schedule: 'scp' } },
  { technique: '+ every schedule', pinned: {} },
];
/** How many of the techniques the paper has. */
export const NUM_PAPER_TECHNIQUES = 4;

const RECOMPUTING_SCHEDULES = ['1f1b', '1f1b-early', 'scp', 'zb-h1', 'zb-v'];

export interface Experiment {
  readonly model: string;
  readonly length: number;
  readonly baseline: () => Row;
  readonly row: (index: number) => Row;
  /** One schedule after the other in the baseline's own layout, everything recomputed. */
  readonly schedules: () => Row[];
}

/** One model's rows, computed when asked for; they share traces and tables. */
export function experiment(model: string): Experiment {
  let megatron: { readonly choice: LayoutChoice; readonly row: Row } | undefined;
  const size = GPT_SIZES[model];
  if (size === undefined) throw new RangeError(`no model ${model}`);
  const { cluster, workers, memoryLimitBytes } = parseCluster(CLUSTER, 'bf16');
  const traceAt = gptTracer(size, size.sequence);
  const request = { traceAt, cluster, optimizer: ADAM, precision: 'bf16' as const, workers, batchSize: BATCH_SIZE };
  const tables = makeTables(request);
  const rowOf = (technique: string, choice: LayoutChoice, best: ReturnType<typeof time>): Row => ({
    technique,
    layout: describeChoice(choice),
    stepSeconds: best.stepSeconds,
    tokensPerSecond: (BATCH_SIZE * size.sequence) / best.stepSeconds,
    bubble: best.bubble,
    peakBytes: best.peakBytes,
  });
  const baseline = () => {
    if (megatron !== undefined) return megatron;
    const schedules: ScheduleCache = new Map();
    const timed = candidateChoices(workers, BATCH_SIZE, cluster.devicesPerHost, MEGATRON)
      .filter(({ mesh, microBatchSize }) => mesh.pp <= size.numLayers && microBatchSize <= LARGEST_BASELINE_SIZE)
      .flatMap((choice) => {
        const staged = uniformStages(choice, tables, cluster, memoryLimitBytes, schedules);
        return staged.fits ? [time(staged, ADAM, schedules)] : [];
      });
    const best = timed.reduce((fastest, one) => (one.stepSeconds < fastest.stepSeconds ? one : fastest));
    megatron = { choice: best.choice, row: rowOf('Megatron-like', best.choice, best) };
    return megatron;
  };
  return {
    model,
    length: size.sequence,
    baseline: () => baseline().row,
    schedules() {
      const { mesh, numMicroBatches } = baseline().choice;
      const pinned = { ...MEGATRON, ...mesh, numMicroBatches };
      return RECOMPUTING_SCHEDULES.map((schedule) => {
        const { choice, best } = searchLayout({
          ...request,
          memoryLimitBytes,
          tables,
          pinned: { ...pinned, schedule },
        });
        return rowOf(`${schedule}, balanced, full recomputation`, choice, best);
      });
    },
    row(index) {
      const { technique, pinned } = TECHNIQUES[index] ?? { technique: '', pinned: {} };
      const { choice, best } = searchLayout({ ...request, memoryLimitBytes, pinned, tables });
      return rowOf(technique, choice, best);
    },
  };
}

/** As many blocks on each stage, the embedding on the first and the head on the last. */
function uniformStages(
  choice: LayoutChoice,
  tables: Tables,
  cluster: Parameters<typeof clusterCosts>[0],
  memoryLimitBytes: number,
  schedules: ScheduleCache,
): Staged {
  const table = tables.tableOf(choice);
  if (table === undefined) throw new RangeError('no table');
  const costs = clusterCosts(cluster, choice.mesh);
  const balanced = stage(choice, table, costs, memoryLimitBytes, schedules);
  const { pp } = choice.mesh;
  const blocks = blockOfShard(tables, choice.microBatchSize);
  const numBlocks = 1 + Math.max(...blocks);
  const stageOfShard = blocks.map((block) => Math.floor((block * pp) / numBlocks));
  const starts = stageStarts(stageOfShard, pp);
  const { schedule, inFlight } = settledSchedule(choice, schedules);
  const conditions = { schedule, inFlight, recompute: choice.recompute, memoryLimitBytes, optimizerPieces: 1 };
  const stages = Array.from({ length: pp }, (_, at) =>
    table.estimate(at, starts[at] ?? 0, starts[at + 1] ?? table.numShards, conditions),
  );
  return {
    ...balanced,
    stageOfShard,
    stages,
    fits: stages.every(({ fits }) => fits),
    peakBytes: Math.max(...stages.map(({ bytes }) => bytes)),
  };
}

const known = new WeakMap<Tables, number[]>();

/** By the names of the parameters used; what is before the first block counts to it, what is behind the last to that. */
function blockOfShard(tables: Tables, microBatchSize: number): readonly number[] {
  const found = known.get(tables);
  if (found !== undefined) return found;
  const graph = tables.graphAt(microBatchSize);
  const shards = shardGraph(graph);
  const blockOf = new Map<number, number>();
  for (const { name, value } of graph.parameters) {
    const match = /block(\d+)\//.exec(name);
    if (match !== null) blockOf.set(value, Number(match[1]));
  }
  const blocks = Array.from({ length: shards.numShards }, () => -1);
  graph.nodes.forEach(({ inputs }, node) => {
    const shard = shards.shardOfNode[node] ?? 0;
    for (const input of inputs) {
      const block = blockOf.get(input);
      // A block's first norm may stand at the end of the shard before.
      if (block !== undefined && (blocks[shard] ?? -1) < 0) blocks[shard] = block;
    }
  });
  let before = 0;
  const filled = blocks.map((block) => {
    before = Math.max(before, block);
    return before;
  });
  known.set(tables, filled);
  return filled;
}
