/**
 * How long planning takes, each in a process of its own on one core: named models on clusters, and stages alone.
 * Run: node --import tsx bench/planning.ts [--report file.json] [--only 20b]
 * Marks: 175 B on 1,024 devices under 60 s and 1 GB; 20 B on 64 under 10 s; 100 layers on 64 stages under 5 s.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { optimizeGraph } from '../src/graph/passes/optimize.js';
import { planNamedModel } from '../src/launcher/planModel.js';
import { gpt } from '../src/models/gpt.js';
import { shardGraph } from '../src/partitioner/shardGraph.js';
import { checkSchedule } from '../src/pipeline/check.js';
import { oneForwardOneBackward } from '../src/pipeline/oneForwardOneBackward.js';
import { balanceStages } from '../src/planner/balance.js';
import { localCosts } from '../src/planner/localCosts.js';
import { lazy } from '../src/trace/lazy.js';
import { traceModel } from '../src/trace/trace.js';
import { renderTable } from './table.js';

const { values: flags } = parseArgs({
  options: { only: { type: 'string', default: '' }, report: { type: 'string' }, alone: { type: 'string' } },
});

interface Task {
  readonly name: string;
  readonly markSeconds: number;
  readonly run: () => () => unknown;
}

const named = (model: string, cluster: string) => () => () =>
  planNamedModel({ model, cluster, globalBatch: undefined, sequence: undefined, options: {} });

const TASKS: readonly Task[] = [
  { name: 'gpt:20b on 16x4:rtx3090:ib100', markSeconds: 10, run: named('gpt:20b', '16x4:rtx3090:ib100') },
  { name: 'gpt:20b on 8x8:h100:ib400', markSeconds: 10, run: named('gpt:20b', '8x8:h100:ib400') },
  {
    name: 'gpt:175b on 128x8:h100:nvlink4+ib400',
    markSeconds: 60,
    run: named('gpt:175b', '128x8:h100:nvlink4+ib400'),
  },
  { name: 'stages of 100 layers on 64', markSeconds: 5, run: hundredLayers },
];

/** What is timed is the partitioner alone: not the tracing of the model. */
function hundredLayers() {
  const fields = ['tokens', 'targets'].map((name) => ({ name, shape: [128], dtype: 'int32' as const }));
  const config = { vocabularySize: 4096, contextLength: 128, numLayers: 100, numHeads: 2, hiddenSize: 128 };
  const graph = optimizeGraph(
    traceModel(
      lazy(() => gpt(config)),
      'train',
      fields,
      1,
    ).graph,
  );
  const schedule = oneForwardOneBackward(64, 128);
  return () =>
    balanceStages(graph, shardGraph(graph, { atLeast: 64 }), 1, {
      schedule,
      inFlight: checkSchedule(schedule),
      recompute: 'auto',
      memoryLimitBytes: 8e6,
      costs: localCosts(),
      numMoments: 2,
    });
}

interface Taken {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
}

/** The task of that name, in this process. */
function measure(name: string): Taken {
  const body = TASKS.find((task) => task.name === name)?.run();
  const [before, start] = [process.cpuUsage(), performance.now()];
  body?.();
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - start) / 1e3;
  return { seconds, cpuSeconds: (user + system) / 1e6, peakBytes: 1024 * process.resourceUsage().maxRSS };
}

if (flags.alone !== undefined) {
  process.stdout.write(JSON.stringify(measure(flags.alone)));
} else {
  const results = TASKS.filter(({ name }) => name.includes(flags.only)).map((task) => {
    const script = fileURLToPath(import.meta.url);
    const { stdout, stderr } = spawnSync('node', ['--import', 'tsx', script, '--alone', task.name], {
      encoding: 'utf8',
    });
    const at = stdout.lastIndexOf('{"seconds"');
    if (at < 0) throw new Error(stderr);
    return { ...task, ...(JSON.parse(stdout.slice(at)) as Taken) };
  });
  console.log(
    renderTable({
      title: 'Planning',
      columns: ['what', 'seconds', 'of CPU', 'peak memory', 'mark'],
      rows: results.map(({ name, seconds, cpuSeconds, peakBytes, markSeconds }) => [
        name,
        seconds.toFixed(2),
        cpuSeconds.toFixed(2),
        `${Math.round(peakBytes / 1e6)} MB`,
        `${markSeconds} s: ${seconds <= markSeconds ? 'reached' : 'missed'}`,
      ]),
      notes: [`${cpus()[0]?.model.trim()}, Node ${process.version}, load ${loadavg()[0]?.toFixed(1)}`],
    }),
  );
  if (flags.report !== undefined) writeFileSync(flags.report, `${JSON.stringify(results, null, 1)}\n`);
}
