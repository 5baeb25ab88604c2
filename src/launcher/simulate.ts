/** `merak simulate`: what a schedule would take, from unit costs alone. */
import { z } from 'zod';
import { parseWith } from '../config/parse.js';
import { chromeTrace } from '../pipeline/chromeTrace.js';
import { drawSchedule } from '../pipeline/draw.js';
import { ganttSpec } from '../pipeline/gantt.js';
import { recomputingStages } from '../pipeline/recomputingStages.js';
import { SCHEDULE_NAMES, scheduleByName } from '../pipeline/registry.js';
import { simulate } from '../pipeline/simulate.js';
import { numVirtualStages } from '../pipeline/virtualStages.js';
import { renderSvg, writeResult } from './chart.js';

const count = z.number().int().min(1);
const cost = z.number().min(0);

/** The command's flags are this schema. Costs in any one unit, of one micro-batch on one (virtual) stage. */
export const simulateSchema = z.strictObject({
  schedule: z
    .string()
    .default('1f1b')
    .describe(`one of ${SCHEDULE_NAMES.join(', ')}`),
  stages: count.default(4).describe('pipeline stages'),
  chunks: count.optional().describe('model chunks per stage, for the interleaved schedule (default 2)'),
  microBatches: count.default(8).describe('micro-batches per step'),
  forward: cost.default(1).describe('time of a forward pass'),
  backward: cost
    .default(2)
    .describe('time of a backward pass; of the input gradients alone where the schedule splits them off'),
  weight: cost.default(0).describe('time of the weight gradients where they are not in --backward'),
  recompute: cost.default(0).describe('time of a recomputation; 0: stages keep what they need'),
  send: cost.default(0).describe('time of a message between neighbours'),
  trace: z.string().optional().describe('write a Chrome trace (Perfetto) to this file'),
  svg: z.string().optional().describe('draw a Gantt chart to this SVG file'),
  report: z.string().optional().describe('write the figures to this JSON file'),
});

/** Prints the timeline, the step's time, the bubble and each stage's idle time. */
export async function simulateCommand(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const options = parseWith(simulateSchema, flags, 'command line');
  const { forward, backward, weight, recompute, send } = options;
  const schedule = scheduleByName(options.schedule, options.stages, options.microBatches, {
    recomputes: recompute > 0,
    numChunks: options.chunks,
  });
  const virtualStages = Array.from({ length: numVirtualStages(schedule) }, (_, virtual) => virtual);
  const recomputes = recomputingStages(schedule.name, virtualStages.length).map((again) => again && recompute > 0);
  const hop = { bytes: 0, route: [], latencySeconds: send };
  const seconds = recomputes.map((again) => ({
    forward,
    recompute: again ? recompute : 0,
    inputGradient: backward,
    weightGradient: weight,
  }));
  const result = simulate({
    schedule,
    seconds,
    boundaries: virtualStages.map(() => ({ activation: hop, gradient: hop })),
  });
  const costs = { forward, recompute, backward, weight, hop: send };
  process.stdout.write(`${drawSchedule(schedule, { costs, recomputes })}\n`);
  process.stdout.write(
    `step ${Number(result.stepSeconds.toPrecision(6))}, bubble ${(100 * result.bubble).toFixed(1)} %\n`,
  );
  if (options.trace !== undefined) await writeResult('--trace', options.trace, JSON.stringify(chromeTrace(result)));
  if (options.svg !== undefined) {
    const title = `${schedule.name}, ${options.stages} stages, ${options.microBatches} micro-batches`;
    await writeResult('--svg', options.svg, await renderSvg(ganttSpec(result, schedule, { title, seconds })));
  }
  if (options.report !== undefined) {
    const { stepSeconds, bubble, idleSeconds, tasks } = result;
    const figures = { ...options, stepSeconds, bubble, idleSeconds, tasks };
    await writeResult('--report', options.report, `${JSON.stringify(figures, null, 1)}\n`);
  }
}
