/** `merak train sigma`: graph matching by structural inconsistency and mirror descent. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MerakError } from '../../index.js';
import type { EdgeList } from '../readers/edges.js';
import { defineTrainer } from '../trainer.js';
import { config } from './config.js';
import { generatePair } from './generate.js';
import { type MatchResult, matchByBaseline, matchBySigma } from './match.js';
import { type Matcher, type MatcherOptions, openMatcher } from './matcher.js';
import { problemsOf } from './problems.js';
import { correctnessChart, headline, inconsistencyChart, matchingTable, objectiveChart } from './report.js';

export const sigma = defineTrainer({
  name: 'sigma',
  paper: {
    title: 'SIGMA: graph matching by structural inconsistency with heat-diffusion wavelets',
    year: 2022,
    id: 'arXiv 2202.02797',
  },
  description: 'matches the nodes of two graphs by structural inconsistency (mirror descent on Gromov-Wasserstein)',
  config,
  data: {
    howToGet:
      'edge lists, two node numbers a line; the arenas graphs are in github.com/GemsLab/REGAL (see docs/trainers/sigma.md)',
    files: ({ graphs, source, target, truth }) =>
      graphs === 'generated' ? [] : [source, target, ...(truth === '' ? [] : [truth])],
    async sample(folder, { graphs, source, target, truth }, seed) {
      if (graphs === 'generated') return;
      const pair = generatePair({ model: 'barabasi-albert', nodes: 60, meanDegree: 6, noise: 0, seed });
      const edges = (graph: EdgeList): string => rows(graph.from, graph.to);
      await write(join(folder, source), edges(pair.source));
      await write(join(folder, target), edges(pair.target));
      const nodes = pair.truth!.map((_, node) => node);
      if (truth !== '') await write(join(folder, truth), rows(nodes, pair.truth!));
    },
  },
  async prepare({ config: given, data, seed }) {
    const { hops, weights, baselines, marginals } = given;
    const most = Math.max(...hops);
    if (weights.length > 0 && (weights.length < most || weights.every((weight) => weight === 0))) {
      throw new MerakError('config/invalid', 'every structure matrix needs a weight, and one of them must not be 0', {
        path: 'weights',
        expected: `${most} numbers`,
        received: weights.join(', '),
      });
    }
    const problems = await problemsOf(given, data, seed);
    const square = problems.every(({ pair }) => pair.source.numNodes === pair.target.numNodes);
    if (baselines.includes('gromov-wasserstein') && (marginals !== 'uniform' || !square)) {
      throw new MerakError('config/invalid', 'conditional gradient needs uniform marginals and equally many nodes', {
        path: 'baselines',
        hint: 'leave gromov-wasserstein out: baselines=[degree]',
      });
    }
    return problems;
  },
  async run(context, problems) {
    const { hops, baselines } = context.config;
    const [first] = problems;
    // All problems of a run have the same size.
    const options = {
      sourceNodes: first!.pair.source.numNodes,
      targetNodes: first!.pair.target.numNodes,
      maxMatrices: Math.max(...hops),
    };
    const group = await context.spmd({ stepTimeout: secondsAtMost(options) });
    const matcher: Matcher = openMatcher(group, options, context.config);
    const bar = context.progress('pairs', problems.length);
    const results: MatchResult[] = [];
    for (const problem of problems) {
      for (const baseline of baselines) results.push(await matchByBaseline(context, matcher, problem, baseline));
      for (const hop of hops) results.push(await matchBySigma(context, matcher, problem, hop));
      bar.step();
    }
    bar.done();
    return results;
  },
  async evaluate({ output, config: given }, results) {
    await output.table('matching', matchingTable(results, given));
    if (results.some(({ trueInconsistency }) => trueInconsistency.length > 0)) {
      await output.plot('inconsistency', inconsistencyChart(results));
      await output.plot('correctness', correctnessChart(results));
    }
    await output.plot('objective', objectiveChart(results));
    return headline(results);
  },
  async export({ output }, results, problems) {
    // Results come problem by problem, the last method last.
    const perProblem = results.length / problems.length;
    for (const [i, { name }] of problems.entries()) {
      const { matching } = results[(i + 1) * perProblem - 1]!;
      const nodes = matching.map((_, node) => node);
      await output.text(`matchings/${name}.tsv`, rows(nodes, matching));
    }
  },
});

/** However slow the machine, a worker makes a billion multiplications and additions a second; `--step-timeout` says otherwise. */
const SLOWEST_FLOPS = 1e9;
const LEAST_SECONDS = 100;

/** What a step may take: the products of two energies of the line search of a baseline, on one worker. */
function secondsAtMost({ sourceNodes: n, targetNodes: m, maxMatrices }: MatcherOptions): number {
  return Math.max(LEAST_SECONDS, Math.ceil((2 * maxMatrices * 2 * n * m * (n + m)) / SLOWEST_FLOPS));
}

function rows(left: ArrayLike<number>, right: ArrayLike<number>): string {
  return `${Array.from(left, (value, i) => `${value}\t${right[i]}`).join('\n')}\n`;
}

async function write(file: string, content: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
}
