/** What a command shows of a choice of layout: the reasons, the figures, and a step to draw. */
import type { SimulationInput } from '../pipeline/simulate.js';
import { formatBytes } from '../plan/memoryReport.js';
import type { OptimizerPlan } from '../plan/plan.js';
import { stepInput, type Timed } from './search/evaluate.js';
import { formatSeconds } from './search/explainSearch.js';
import { describeChoice } from './search/family.js';
import type { SearchResult } from './search/searchLayout.js';
import type { StageEstimate } from './stageCosts.js';

export interface PlanOutcome {
  readonly title: string;
  readonly text: string;
  /** For `--report`. */
  readonly data: unknown;
  /** A step for the simulator: what `--trace` and `--svg` draw. */
  readonly step: SimulationInput;
}

/** More micro-batches than this many times the stages only repeat the middle of a drawing. */
const DRAWN_PER_STAGE = 3;
const LEAST_DRAWN = 16;

/** Of a search for a cluster on which nothing is started. */
export function searchOutcome(name: string, result: SearchResult, optimizer: OptimizerPlan): PlanOutcome {
  const { best, choice, families, impossible, variants, numChoices, numSimulated } = result;
  const { mesh, numMicroBatches } = choice;
  const drawn = Math.min(numMicroBatches, Math.max(LEAST_DRAWN, DRAWN_PER_STAGE * mesh.pp));
  const step = stepInput(best.staged, optimizer, drawn);
  const part = drawn < numMicroBatches ? ` (drawn with ${drawn})` : '';
  const brief = ({ choice: one, stepSeconds, bubble, peakBytes }: Timed) => ({
    choice: one,
    stepSeconds,
    bubble,
    peakBytes,
  });
  return {
    title: `${name}: ${describeChoice(choice)}${part}`,
    text: `${result.explanation}\n\n${stageTable(best).join('\n')}`,
    data: {
      model: name,
      ...brief(best),
      families: families.map(brief),
      impossible,
      variants,
      stages: best.stages,
      stageOfShard: best.staged.stageOfShard,
      numChoices,
      numSimulated,
    },
    step,
  };
}

/** Virtual stages with the same figures in one line. */
function stageTable({ stages, staged }: Timed): string[] {
  const chunks = (staged.schedule.numChunks ?? 1) > 1;
  const cells = (one: StageEstimate, index: number) => [
    String(staged.stageOfShard.filter((at) => at === index).length),
    formatSeconds(one.forwardSeconds),
    formatSeconds(one.recomputeSeconds),
    formatSeconds(one.inputGradientSeconds),
    formatSeconds(one.weightGradientSeconds),
    formatBytes(one.sentBytes),
    formatBytes(one.trainableBytes),
    formatBytes(one.bytes),
  ];
  const rows: { from: number; to: number; cells: string[] }[] = [];
  stages.forEach((one, index) => {
    const row = cells(one, index);
    const last = rows.at(-1);
    if (last !== undefined && last.cells.join() === row.join()) last.to = index;
    else rows.push({ from: index, to: index, cells: row });
  });
  const head = [chunks ? 'chunks' : 'stages', 'shards', 'F', 'R', 'B', 'W', 'sent', 'trained', 'peak'];
  const table = [
    head,
    ...rows.map(({ from, to, cells: row }) => [from === to ? String(from) : `${from}-${to}`, ...row]),
  ];
  const widths = head.map((_, column) => Math.max(...table.map((row) => (row[column] ?? '').length)));
  return [
    ...table.map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  ')),
    '  (seconds of one micro-batch: forward, recomputation, input and weight gradients; bytes of one rank)',
  ];
}
