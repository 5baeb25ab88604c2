/** docs/paper.md from the computed rows. */
import type { Row } from './rows.js';

export interface Paper {
  readonly results: readonly { readonly model: string; readonly length: number; readonly rows: readonly Row[] }[];
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
  const tables = results.flatMap(({ model, length, rows }) => [
    '',
    `### GPT of ${model.replace('b', ' B')} parameters, sequences of ${length}`,
    '',
    '| | step, s | tokens/s | against Megatron-like | bubble | peak, GB | layout |',
    '|---|---:|---:|---:|---:|---:|---|',
    ...rows.map((row) => renderRow(row, rows[0] ?? row)),
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
    '- **Megatron-like**: the fastest of all (pp, tp, dp, micro-batch size) with as many layers on every stage, embedding on the',
    '  first and head on the last, 1F1B, full recomputation, blocking tensor exchanges, and every rank a whole optimizer state.',
    '- Gradient reductions are not hidden behind the last backward pass in any row; p2p messages run in the background in all.',
    '- Every row below it chooses its layout anew, under what the row allows: speed-ups include what the planner finds.',
    '',
    '## One technique after the other',
    '',
    `The first ${numPaperTechniques} rows behind the baseline are the paper's techniques, the others what came after it.`,
    ...tables,
  ].join('\n')}\n`;
}
