/** docs/paper.md from the computed rows. */
import type { Row } from './rows.js';

export interface Paper {
  readonly results: readonly {
    readonly model: string;
    readonly length: number;
    readonly rows: readonly Row[];
    readonly schedules: readonly Row[];
  }[];
  readonly claimed: Readonly<Record<string, number>>;
  readonly cluster: string;
  readonly batchSize: number;
  readonly numPaperTechniques: number;
}

/** One line of a model's table. */
export function renderRow(row: Row, baseline: Row): string {
  const speedUp = baseline.stepSeconds / row.stepSeconds;
  return `| ${row.technique} | ${row.stepSeconds.toPrecision(4)} | ${Math.round(row.tokensPerSecond)} | ${speedUp.toFixed(2)}x | ${(100 * row.bubble).toFixed(0)} % | ${(row.peakBytes / 1e9).toFixed(1)} | ${row.layout} |`;
}

export function renderPaper({ results, claimed, cluster, batchSize, numPaperTechniques }: Paper): string {
  const speedUps = results.map(({ model, rows }) => {
    const [baseline, paper, all] = [rows[0], rows[numPaperTechniques], rows.at(-1)];
    const times = (row: Row | undefined) => ((baseline?.stepSeconds ?? 0) / (row?.stepSeconds ?? 1)).toFixed(2);
    return `| ${model} | ${claimed[model]?.toFixed(2)}x | ${times(paper)}x | ${times(all)}x |`;
  });
  const tables = results.flatMap(({ model, length, rows, schedules }) => [
    '',
    `### GPT of ${model.replace('b', ' B')} parameters, sequences of ${length}`,
    '',
    '| | step, s | tokens/s | against Megatron-like | bubble | peak, GB | layout |',
    '|---|---:|---:|---:|---:|---:|---|',
    ...rows.map((row) => renderRow(row, rows[0] ?? row)),
    '',
    "In the baseline's own layout, with everything recomputed:",
    '',
    '| | step, s | tokens/s | against Megatron-like | bubble | peak, GB | layout |',
    '|---|---:|---:|---:|---:|---:|---|',
    ...schedules.map((row) => renderRow(row, rows[0] ?? row)),
  ]);
  return `${[
    '# The paper in simulation',
    '',
    'Written by `node --import tsx bench/paper.ts`; no figure here is measured and none is typed in. The same command gives the',
    'same file (test/planner/paper.test.ts computes one row again).',
    '',
    'Merak (Lai et al., IEEE TPDS 34(5), 2023) reports speed-ups over the best of its baselines on 64 GPUs for four GPTs. Its',
    'layouts, batch sizes and ablations are not public to us, so what follows is not a reproduction. It asks what its techniques,',
    'as built here and priced by the cost model, would bring on such a cluster over a baseline like Megatron-LM.',
    '',
    '| model | the paper claims | its techniques, here | all of Merak, here |',
    '|---|---:|---:|---:|',
    ...speedUps,
    '',
    '## Assumptions',
    '',
    `- **Cluster** \`${cluster}\`: 16 hosts of four RTX 3090 (24 GB, of which 1.5 GiB are left to driver and communicators), PCIe 4.0`,
    '  x16 between the four, 100 Gb/s InfiniBand per host, shared by its GPUs. Believed of the paper, not confirmed.',
    '- **Devices** by their data sheets (src/planner/costs/devices.ts), of which products attain 70 % and memory 80 %, and a',
    '  kernel launch takes 4 us: one assumption for every device, not fitted to these results.',
    '- **Models**: public shapes of these sizes (src/launcher/planModel.ts), 51,200 tokens of vocabulary, tied head; bf16',
    '  products with float32 weights, gradients and Adam moments (16 bytes per parameter).',
    `- **Batch** of ${batchSize} sequences per step. Schedules gain more with fewer micro-batches, and less with more.`,
    '- **Megatron-like**: the fastest of all (pp, tp, dp, micro-batch size) with as many layers on every stage, to within one,',
    '  embedding on the first and head on the last, 1F1B, full recomputation, blocking tensor exchanges, and a whole optimizer',
    '  state on every rank. (Megatron-LM itself wants the stages to divide the layers: for 44 layers that would leave it 4.)',
    '- Gradient reductions are not hidden behind the last backward pass in any row; p2p messages run in the background in all.',
    '- Every row below it chooses its layout anew, under what the row allows: speed-ups include what the planner finds. Of layouts',
    '  within 1 % of the fastest it takes the simplest, so a row may be a little slower than the one above.',
    '- Where memory is enough to keep everything, a schedule that hides recomputation has nothing to hide: the shifted critical',
    '  path shows in the second tables, where everything is recomputed.',
    '',
    '## One technique after the other',
    '',
    `The first ${numPaperTechniques} rows behind the baseline are the paper's techniques, the others what came after it.`,
    ...tables,
  ].join('\n')}\n`;
}
