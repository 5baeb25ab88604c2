/** `merak train ot`: optimal transport with a plan of low rank + sparse, by the augmented Lagrangian. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { defineTrainer } from '../trainer.js';
import { config } from './config.js';
import { type Cloud, gaussians, transportsOf } from './points.js';
import { excessChart, excessOf, headline, residualChart, solutionTable } from './report.js';
import {
  type SavedPlan,
  type Solution,
  solveByLowRankSinkhorn,
  solveBySinkhorn,
  solveExactly,
  solveFactored,
} from './solve.js';

const SAMPLE_SIZE = 60;

export const ot = defineTrainer({
  name: 'ot',
  paper: { title: 'Low rank + sparse approximation of optimal transport plans', year: 2021, id: 'arXiv 2111.06546' },
  description: 'optimal transport between point clouds with a plan of low rank + sparse (augmented Lagrangian)',
  config,
  data: {
    howToGet: 'files of points, a point a line with tabs between its coordinates',
    files: ({ points, x, y, xMass, yMass }) =>
      points === 'gaussians' ? [] : [x, y, ...[xMass, yMass].filter((file) => file !== '')],
    async sample(folder, { points, x, y, xMass, yMass }, seed) {
      if (points === 'gaussians') return;
      const pair = gaussians(SAMPLE_SIZE, 2, seed);
      await write(join(folder, x), coordinateLines(pair.x));
      await write(join(folder, y), coordinateLines(pair.y));
      const masses = Array.from({ length: SAMPLE_SIZE }, (_, i) => (2 * (i + 1)) / (SAMPLE_SIZE * (SAMPLE_SIZE + 1)));
      for (const file of [xMass, yMass]) if (file !== '') await write(join(folder, file), `${masses.join('\n')}\n`);
    },
  },
  prepare: ({ config: given, data, seed }) => transportsOf(given, data, seed),
  async run(context, transports) {
    const { rank, budgets, baselines, ranks, lowRankRanks } = context.config;
    const solutions: Solution[] = [];
    const plans: { name: string; plan: SavedPlan }[] = [];
    for (const transport of transports) {
      const exact = baselines.includes('exact') ? await solveExactly(context, transport) : undefined;
      if (exact !== undefined) solutions.push(exact);
      if (baselines.includes('sinkhorn')) solutions.push(await solveBySinkhorn(context, transport));
      for (const low of baselines.includes('low-rank') ? ranks : []) {
        if (!(low === rank && budgets.includes(0)))
          solutions.push((await solveFactored(context, transport, low, 0)).solution);
      }
      for (const low of baselines.includes('low-rank-sinkhorn') ? lowRankRanks : []) {
        solutions.push(await solveByLowRankSinkhorn(context, transport, low));
      }
      for (const budget of budgets) {
        const { solution, plan } = await solveFactored(context, transport, rank, budget);
        solutions.push(solution);
        if (budget === budgets.at(-1)) plans.push({ name: transport.name.replaceAll(' ', '-'), plan });
      }
    }
    return { solutions, plans };
  },
  async evaluate({ output }, { solutions }, transports) {
    await output.table('transport', solutionTable(solutions, transports));
    if (solutions.some((one) => one.method !== 'exact' && excessOf(one, solutions) !== undefined)) {
      await output.plot('excess', excessChart(solutions));
    }
    await output.plot('residual', residualChart(solutions));
    return headline(solutions);
  },
  async export({ output }, { plans }) {
    for (const { name, plan } of plans) await output.json(`plans/${name}.json`, plan);
  },
});

function coordinateLines({ size, dimension, coordinates }: Cloud): string {
  const line = (i: number): string => coordinates.subarray(i * dimension, (i + 1) * dimension).join('\t');
  return `${Array.from({ length: size }, (_, i) => line(i)).join('\n')}\n`;
}

async function write(file: string, content: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
}
