/** Every option of Merak, once: `wrap`'s options and the command's flags are this schema. */
import { z } from 'zod';

const degree = z.number().int().min(1);

/**
 * Precedence, highest first: flags of the command, options given to `wrap`, defaults. Options left out are filled by the
 * planner's rule (src/planner/defaults.ts).
 */
export const optionsSchema = z.strictObject({
  workers: degree.optional().describe('number of worker processes (default: dp x tp x pp, or 1)'),
  dp: degree.optional().describe('data-parallel degree: replicas that share a batch'),
  tp: degree.optional().describe('tensor-parallel degree: workers that share each layer'),
  pp: degree.optional().describe('pipeline-parallel degree: stages'),
  microBatches: degree.optional().describe('micro-batches per step and replica'),
  schedule: z
    .enum(['1f1b', 'scp', 'zb-h1', '1f1b-early', 'gpipe', 'interleaved', 'zb-v'])
    .optional()
    .describe(
      'pipeline schedule: 1f1b, scp (shifted critical path), zb-h1 (zero bubble), 1f1b-early, gpipe, interleaved, or zb-v ' +
        '(the last two cut the model into several chunks per stage)',
    ),
  chunks: degree.optional().describe('model chunks per stage, for the interleaved schedule (default 2)'),
  subBatches: degree
    .optional()
    .describe('sub-batches of a micro-batch that overlap the exchanges of the tensor axis with computing'),
  sequenceParallel: z
    .enum(['auto', 'on', 'off'])
    .default('auto')
    .describe('split norms, dropout and residuals along the sequence over the tensor axis: auto, on or off'),
  shardOptimizer: z
    .boolean()
    .optional()
    .describe('split the optimizer state over the data-parallel replicas (ZeRO-1; default: where memory is short)'),
  recompute: z
    .enum(['none', 'full', 'auto'])
    .optional()
    .describe('recompute activations in the backward pass: none, full, or auto (what memory is too short for)'),
  device: z
    .enum(['auto', 'native', 'cuda', 'tfjs'])
    .default('auto')
    .describe(
      'engine: native (processor), cuda (NVIDIA GPUs), tfjs (any tfjs backend), or auto (GPUs where there are any)',
    ),
  devices: z
    .string()
    .regex(/^cuda(:[1-9]\d*)?$/, 'must be cuda or cuda:N, N a number of GPUs')
    .optional()
    .describe(
      'GPUs to use: cuda (all), or cuda:N (the first N); workers take turns on them where there are more workers',
    ),
  tfjsBackend: z.string().default('cpu').describe('backend of the tfjs device: cpu, wasm, tensorflow, ...'),
  precision: z
    .enum(['f32', 'tf32', 'bf16', 'f16'])
    .default('f32')
    .describe(
      'of training: f32; tf32 (as f32, but GPUs may round operands of products to 19 bits); bf16 or f16 (mixed: products ' +
        'in 16 bits; weights, sums, norms and the loss in float32; f16 scales the loss and needs a GPU)',
    ),
  lossScale: z
    .number()
    .min(1)
    .max(2 ** 64)
    .default(65536)
    .describe('of f16: what the loss is multiplied by at first, so that small gradients do not vanish'),
  lossScaleGrowth: z
    .number()
    .min(1)
    .default(2)
    .describe('of f16: what the scale is multiplied by after lossScaleInterval steps in a row without an overflow'),
  lossScaleInterval: degree.default(2000).describe('of f16: steps without an overflow after which the scale grows'),
  lossScaleBackoff: z
    .number()
    .gt(0)
    .lt(1)
    .default(0.5)
    .describe('of f16: what the scale is multiplied by after an overflow (that step updates nothing)'),
  threadsPerWorker: degree.optional().describe('threads per worker (default: cores / workers, at least 1)'),
  seed: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0).describe('seed of every random number'),
  clipNorm: z.number().min(0).default(0).describe('global gradient norm to clip to; 0 is off'),
  weightDecay: z.number().min(0).default(0).describe('decoupled weight decay of matrices (turns Adam into AdamW)'),
  memoryLimit: z.number().min(1).optional().describe('bytes a worker may use (default: free memory / workers)'),
  port: z
    .number()
    .int()
    .min(0)
    .max(65535)
    .default(0)
    .describe('port the workers dial on 127.0.0.1; 0 takes a free one'),
  logDir: z.string().default('runs').describe('folder for worker logs'),
  explain: z.boolean().default(false).describe('print the plan before training'),
  profile: z
    .string()
    .min(1)
    .optional()
    .describe(
      'record every rank’s last 10 training steps: a Perfetto trace per rank in this folder (default: runs/profile), and a table of the operations that took longest',
    ),
  report: z.string().optional().describe('write everything printed to this JSON file'),
  startTimeout: z.number().min(1).default(300).describe('seconds the workers may take to start'),
  stepTimeout: z.number().min(1).default(100).describe('seconds a worker may wait for another inside a step'),
});

export type OptionsInput = z.input<typeof optionsSchema>;
export type Options = z.output<typeof optionsSchema>;
export type OptionName = keyof Options;
