// The report's part on training speed: Merak and PyTorch by size, and what became of the marks.
import { MARKS } from './sizes.mjs';
import { gib, inCell, percent } from './units.mjs';

const TITLES = { merak: 'Merak', torchCompile: 'torch.compile', torch: 'PyTorch eager' };

const mean = (numbers) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;

/** The runs of an engine as one: rates averaged; undefined where none ended. */
function summary(row, engine) {
  const runs = row.runs.filter((run) => run.engine === engine && run.tokensPerSecond !== undefined);
  if (runs.length === 0) return undefined;
  const of = (key) => (runs[0][key] === undefined ? undefined : mean(runs.map((run) => run[key])));
  const { peakBytes } = runs[0];
  return {
    rates: runs.map(({ tokensPerSecond }) => tokensPerSecond.toFixed(0)),
    tokensPerSecond: of('tokensPerSecond'),
    mfu: of('mfu'),
    shareOfGemm: of('shareOfGemm'),
    peakBytes: typeof peakBytes === 'object' ? peakBytes?.measured : peakBytes,
    startSeconds: of('startSeconds'),
  };
}

/** `rows`: of the speed sections, { name, batchSize, runs: [{ engine, tokensPerSecond, mfu, ... } | { engine, skipped | failed }] }. */
export function speed(rows) {
  if (rows.length === 0) return [];
  const lines = [
    '',
    'GPT-2, bf16, context 1024, random tokens, engines in turn. MFU: 6 N + 12 L H T per token, of 989 TFLOP/s; share of GEMM: of the rate measured above. Start: to the end of the first step (PyTorch: of the third; what torch.compile had compiled before is in its cache).',
    '',
    '| size | batch | engine | tokens/s | each run | MFU | share of GEMM | peak memory | start |',
    '| --- | ---: | --- | ---: | --- | ---: | ---: | ---: | ---: |',
  ];
  for (const row of rows)
    for (const [engine, title] of Object.entries(TITLES)) {
      const all = summary(row, engine);
      const head = `| ${row.name} | ${row.batchSize} | ${title}`;
      if (all !== undefined) {
        lines.push(
          `${head} | ${all.tokensPerSecond.toFixed(0)} | ${all.rates.join(', ')} | ${percent(all.mfu)} | ${percent(all.shareOfGemm)} | ${gib(all.peakBytes)} | ${all.startSeconds.toFixed(1)} s |`,
        );
        continue;
      }
      const why = row.runs.find((run) => run.engine === engine);
      if (why !== undefined) lines.push(`${head} | ${inCell(why.skipped ?? why.failed)} | | | | | |`);
    }
  return [...lines, '', ...marks(rows)];
}

function marks(rows) {
  const lines = [];
  for (const [name, { mfu, ofCompile }] of Object.entries(MARKS)) {
    const row = rows.find((one) => one.name === name);
    const merak = row && summary(row, 'merak');
    if (merak === undefined) {
      lines.push(`- ${name}: not measured (mark ${percent(mfu)} MFU)`);
      continue;
    }
    const verdict = (is) => (is ? 'reached' : 'MISSED');
    lines.push(`- ${name}: MFU ${percent(merak.mfu)}, mark ${percent(mfu)}: ${verdict(merak.mfu >= mfu)}`);
    const compiled = summary(row, 'torchCompile');
    if (ofCompile === undefined || compiled === undefined) continue;
    const ratio = merak.tokensPerSecond / compiled.tokensPerSecond;
    lines.push(
      `- ${name}: ${ratio.toFixed(3)}x torch.compile, mark ${ofCompile.toFixed(1)}x: ${verdict(ratio >= ofCompile)}`,
    );
  }
  return lines;
}
