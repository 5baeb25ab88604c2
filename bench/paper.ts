/**
 * Writes docs/paper.md: the paper's models on its cluster in simulation. Every figure is computed, none measured.
 * Run: node --import tsx bench/paper.ts (some minutes)
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { renderPaper } from './paper/render.js';
import { BATCH_SIZE, CLAIMED, CLUSTER, experiment, NUM_PAPER_TECHNIQUES, TECHNIQUES } from './paper/rows.js';

const results = Object.keys(CLAIMED).map((model) => {
  const { baseline, row, length, schedules } = experiment(model);
  const rows = [baseline(), ...TECHNIQUES.map((_, index) => row(index))];
  const seconds = rows.map(({ stepSeconds }) => stepSeconds.toPrecision(4)).join(' ');
  process.stderr.write(`${model}: ${seconds}\n`);
  return { model, length, rows, schedules: schedules() };
});
const file = fileURLToPath(new URL('../docs/paper.md', import.meta.url));
writeFileSync(
  file,
  renderPaper({
    results,
    claimed: CLAIMED,
    cluster: CLUSTER,
    batchSize: BATCH_SIZE,
    numPaperTechniques: NUM_PAPER_TECHNIQUES,
  }),
);
process.stdout.write(`written to ${file}\n`);
