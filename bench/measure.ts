/** One run of the benchmarks: the limits of the machine and the parts asked for, one after the other. */
import * as tf from '@tensorflow/tfjs';
import { measureLimits } from './limits.js';
import { measureCurves } from './lossCurves.js';
import { describeMachine } from './machine.js';
import { gpt10m } from './models/gpt.js';
import { WORKLOADS } from './models/workloads.js';
import type { Report } from './report.js';
import { measureStartup } from './startup.js';
import { measureOverlap } from './training/overlap.js';
import { findTorches } from './training/torch.js';
import { trainAll } from './training/train.js';

export const PARTS: readonly string[] = [...WORKLOADS.map(({ name }) => name), 'overlap', 'startup', 'curves'];

/** Says on standard error what it is doing. */
export async function measure(parts: readonly string[], quick: boolean): Promise<Report> {
  const started = performance.now();
  const announce = (what: string): void => {
    const seconds = Math.round((performance.now() - started) / 1000);
    process.stderr.write(`bench ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}  ${what}\n`);
  };
  await tf.setBackend('cpu');
  const machine = describeMachine();
  const torches = findTorches();
  if (torches.length === 0)
    process.stderr.write('bench: NO PYTORCH: no python3 imports torch (apt-get install python3-torch)\n');
  announce('limits of the machine');
  const limits = await measureLimits(quick ? 3 : 20);
  const trained = { training: [], missing: [] } as {
    training: Report['training'][number][];
    missing: Report['missing'][number][];
  };
  for (const workload of WORKLOADS.filter(({ name }) => parts.includes(name))) {
    const [seconds, maxStepSeconds] = quick ? [0, 1] : [2, 8];
    const { rows, missing } = await trainAll(workload, { limits, torches, seconds, maxStepSeconds, announce });
    trained.training.push(...rows);
    trained.missing.push(...missing);
  }
  const overlap = parts.includes('overlap') ? { overlap: await measureOverlap(gpt10m, announce) } : {};
  if (parts.includes('startup')) announce('start-up');
  const startup = parts.includes('startup') ? { startup: measureStartup(quick ? 1 : 4) } : {};
  const curves = parts.includes('curves') ? { curves: await measureCurves(quick ? 20 : 200, announce) } : {};
  const minutes = (performance.now() - started) / 60_000;
  const about = torches.map(({ env: _, ...rest }) => rest);
  return { parts, machine, quick, minutes, torches: about, limits, ...trained, ...overlap, ...startup, ...curves };
}
