/** What the sigma recipe can be told. */
import { z } from 'zod';

const count = z.int().min(1);
const share = z.number().min(0).max(1);

export const GRAPH_MODELS = ['erdos-renyi', 'barabasi-albert'] as const;
export const BASELINES = ['degree', 'gromov-wasserstein'] as const;

export const config = z.strictObject({
  graphs: z
    .enum(['generated', 'files'])
    .default('generated')
    .meta({ description: 'random graphs and their noisy copies, or the files named below', paper: 'not known' }),
  source: z.string().default('source.tsv').meta({ description: 'edge list: two node numbers a line' }),
  target: z.string().default('target.tsv').meta({ description: 'edge list of the graph to match' }),
  truth: z
    .string()
    .default('')
    .meta({ description: 'source node and its target node a line; empty: not known, nothing is scored by it' }),
  allowDisconnected: z
    .boolean()
    .default(false)
    .meta({ description: 'whether the graphs of files may have several components (nodes without edges included)' }),
  models: z
    .array(z.enum(GRAPH_MODELS))
    .min(1)
    .default([...GRAPH_MODELS])
    .meta({ description: 'generated graphs' }),
  nodes: z.int().min(4).default(300).meta({ description: 'of a generated graph' }),
  meanDegree: z
    .number()
    .positive()
    .default(6)
    .meta({ description: 'of a generated graph; Barabasi-Albert: rounded to even' }),
  noise: z
    .array(share)
    .min(1)
    .default([0.1, 0.2, 0.3])
    .meta({ description: 'share of the edges that differ in the copy: half are removed, as many added' }),
  repeats: count.default(5).meta({ description: 'generated pairs per model and noise', unit: 'seeds' }),
  structure: z
    .enum(['hop', 'wavelet'])
    .default('hop')
    .meta({ description: 'powers of the normalised adjacency N, or heat wavelets exp(-scale k L)', paper: 'wavelet' }),
  hops: z
    .array(count.max(8))
    .min(1)
    .default([1, 2, 3])
    .meta({ description: 'numbers K of structure matrices, each tried', paper: 'K, value not known' }),
  includeAdjacency: z
    .boolean()
    .default(true)
    .meta({ description: 'the first matrix is the adjacency: hop has N^2 to N^K beside it, wavelet K - 1 wavelets' }),
  scale: z.number().positive().default(1).meta({ description: 'heat diffusion time of the first wavelet' }),
  terms: count.max(64).default(12).meta({ description: "of the wavelets' power series", paper: 'K' }),
  weights: z
    .array(z.number().min(0))
    .default([])
    .meta({ description: 'of the structure matrices; empty: equal', paper: 'not known' }),
  marginals: z.enum(['uniform', 'degree']).default('uniform').meta({ description: 'mass of a node' }),
  eta: z.number().positive().default(0.1).meta({
    description: 'step of the mirror descent, in standard deviations of the inconsistency; renewed each iteration',
  }),
  iterations: count.default(60).meta({ description: 'of the mirror descent' }),
  sinkhornIterations: count.default(30).meta({ description: 'log-domain rounds per iteration' }),
  reportAt: z
    .array(count)
    .default([5, 10, 20])
    .meta({ description: 'iterations whose matching is scored, beside the last' }),
  hitsAt: z.array(count).default([1, 5, 10]).meta({ description: 'k of hits@k' }),
  baselines: z
    .array(z.enum(BASELINES))
    .default([...BASELINES])
    .meta({ description: 'sorting by degree; Gromov-Wasserstein by conditional gradient' }),
  baselineIterations: count.default(50).meta({ description: 'at most, of the conditional gradient' }),
});

export type SigmaConfig = z.output<typeof config>;
