/** All contestants on one workload, one after the other. */
import { ensureKernels } from '../../src/kernels/register.js';
import type { Limits } from '../limits.js';
import type { Workload } from '../models/workload.js';
import { halfBatchLayout, type Layout, layoutsOf } from './layouts.js';
import { trainWithMerak } from './merak.js';
import type { Contestant, Missing, Precision, Timed, TrainingRow } from './result.js';
import { reusableModel } from './reusable.js';
import { trainWithTfjs } from './tfjs.js';
import { type Torch, trainWithTorch } from './torch.js';

export interface TrainingOptions {
  readonly limits: Limits;
  readonly torches: readonly Torch[];
  /** Seconds of timed rounds per Merak run and per PyTorch run. */
  readonly seconds: number;
  /** PyTorch and tfjs: a step that would take longer is timed on fewer samples. */
  readonly maxStepSeconds: number;
  /** Told before every run: what comes. */
  readonly announce: (what: string) => void;
}

export interface TrainingResult {
  readonly rows: readonly TrainingRow[];
  readonly missing: readonly Missing[];
}

const PRECISIONS: readonly Precision[] = ['f32', 'bf16'];
const TIMEOUT_SECONDS = 120;

export async function trainAll(workload: Workload, options: TrainingOptions): Promise<TrainingResult> {
  const rows: TrainingRow[] = [];
  const missing: Missing[] = [];
  ensureKernels('cpu');
  const model = reusableModel(workload);
  const flopsPerUnit = workload.flopsPerUnit(model.built.model);

  const run = async (
    contestant: Contestant,
    name: string,
    numThreads: number,
    precision: Precision,
    time: () => Promise<(Timed & { readonly numThreads?: number }) | { readonly skipped: string }>,
  ): Promise<void> => {
    const about = { workload: workload.name, contestant, run: name, precision };
    options.announce(`${workload.name} ${precision}: ${contestant}, ${name}`);
    try {
      const timed = await time();
      if ('skipped' in timed) return void missing.push({ ...about, reason: timed.skipped });
      const unitsPerSecond = (timed.batchSize * workload.unitsPerSample) / timed.stepSeconds;
      const modelFlopsPerSecond = unitsPerSecond * flopsPerUnit;
      const threads = timed.numThreads ?? numThreads;
      const limit = options.limits.matmul.find((one) => one.dtype === precision && one.numThreads === threads);
      const ratio = limit === undefined ? {} : { ratioToMatmul: modelFlopsPerSecond / limit.flopsPerSecond };
      rows.push({ ...about, ...timed, numThreads: threads, unitsPerSecond, modelFlopsPerSecond, ...ratio });
    } catch (error) {
      const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
      missing.push({ ...about, reason });
    }
  };

  const layouts: readonly Layout[] = [
    ...layoutsOf(workload),
    ...(workload.hasMarks === true ? [halfBatchLayout(workload)] : []),
  ];
  for (const precision of PRECISIONS) {
    for (const layout of layouts) {
      await run('merak', layout.name, layout.numThreads, precision, async () => {
        const { report: _, ...timed } = await trainWithMerak(workload, model, layout, {
          precision,
          seconds: options.seconds,
        });
        return timed;
      });
    }
  }
  model.dispose();
  await run('tfjs-wasm', 'tfjs on WASM', 1, 'f32', () =>
    trainWithTfjs(
      { workload: workload.name, seconds: options.seconds, maxStepSeconds: options.maxStepSeconds },
      TIMEOUT_SECONDS,
    ),
  );
  for (const torch of options.torches) {
    for (const precision of PRECISIONS) {
      for (const numThreads of [2, 1]) {
        const name = `${torchRun(numThreads)}, ${torch.version.replace(/[a+].*$/, '')}`;
        const flopsPerSample = flopsPerUnit * workload.unitsPerSample;
        const { seconds, maxStepSeconds } = options;
        const job = { numThreads, precision, seconds, maxStepSeconds, flopsPerSample, timeoutSeconds: TIMEOUT_SECONDS };
        await run('pytorch', name, numThreads, precision, () => trainWithTorch(torch, workload, job));
      }
    }
  }
  return { rows, missing };
}

/** The version follows. */
function torchRun(numThreads: number): string {
  return `PyTorch, ${numThreads === 1 ? '1 thread' : `${numThreads} threads`}`;
}
