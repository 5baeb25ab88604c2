/** What the ot recipe can be told. */
import { z } from 'zod';

const count = z.int().min(1);

export const BASELINES = ['exact', 'sinkhorn', 'low-rank', 'low-rank-sinkhorn'] as const;

export const config = z.strictObject({
  points: z
    .enum(['gaussians', 'files'])
    .default('gaussians')
    .meta({ description: 'X ~ N(0, I) and Y ~ N(1, diag(0.5 ... 1.5)^2), or the files named below' }),
  x: z.string().default('x.tsv').meta({ description: 'a point a line: coordinates between tabs' }),
  y: z.string().default('y.tsv').meta({ description: 'the points they go to' }),
  xMass: z.string().default('').meta({ description: 'a mass a line, together 1; empty: all alike' }),
  yMass: z.string().default('').meta({ description: 'likewise for y' }),
  sizes: z
    .array(z.tuple([z.int().min(2), count]))
    .min(1)
    .default([
      [200, 2],
      [400, 2],
      [200, 10],
    ])
    .meta({ description: 'generated problems: points on either side and their dimension' }),
  rank: count.default(5).meta({ description: 'of the low-rank part', paper: 'not known' }),
  budgets: z
    .array(z.number().min(0))
    .min(1)
    .default([0.5, 1, 2])
    .meta({ description: 'entries of the sparse part, each tried; 0 leaves it away', unit: 'per point of x' }),
  outer: count.default(300).meta({ description: 'updates of the multipliers' }),
  inner: count.default(8).meta({ description: 'sweeps over both factors and the sparse part for each' }),
  penalty: z
    .number()
    .positive()
    .default(1)
    .meta({ description: 'mu', unit: 'of (points of x) x (mean cost / largest)' }),
  warmUp: z.int().min(0).default(60).meta({ description: 'outer iterations before the sparse part has entries' }),
  refresh: count.default(5).meta({ description: 'outer iterations from one choice of entries to the next' }),
  scanBytes: count.default(8_388_608).meta({ description: 'of a block of the cost matrix in a scan', unit: 'bytes' }),
  baselines: z
    .array(z.enum(BASELINES))
    .default([...BASELINES])
    .meta({
      description: 'exact: network simplex, for up to exactLimit points; Sinkhorn; no sparse part; low-rank Sinkhorn',
    }),
  ranks: z.array(count).default([5, 10, 20]).meta({ description: 'of the low-rank baseline' }),
  lowRankRanks: z.array(count).default([20, 50]).meta({ description: 'of the low-rank Sinkhorn baseline' }),
  lowRankSteps: count.default(300).meta({ description: 'of its mirror descent' }),
  lowRankRounds: count.default(30).meta({ description: "of Dykstra's projection in each of them" }),
  exactLimit: count.default(2000).meta({ description: 'largest problem that is solved exactly', unit: 'points' }),
  sinkhornEpsilon: z.number().positive().default(0.01).meta({ description: 'entropy', unit: 'of the largest cost' }),
  sinkhornRounds: count.default(500).meta({ description: 'of the Sinkhorn baseline' }),
});

export type OtConfig = z.output<typeof config>;
