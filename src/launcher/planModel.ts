/** `merak plan --model gpt:20b --cluster ...`: the layout of a named model, without a script and without weights. */
import { suggestion } from '../config/parse.js';
import type { Options } from '../config/schema.js';
import { MerakError } from '../errors.js';
import { optimizeGraph } from '../graph/passes/optimize.js';
import { type GptConfig, gpt } from '../models/gpt.js';
import { type PlanOutcome, searchOutcome } from '../planner/outcome.js';
import { parseCluster } from '../planner/search/clusterSpec.js';
import { searchLayout } from '../planner/search/searchLayout.js';
import { lazy } from '../trace/lazy.js';
import { traceModel } from '../trace/trace.js';

type GptSize = Pick<GptConfig, 'numLayers' | 'hiddenSize' | 'numHeads'> & { readonly sequence: number };

/** GPT-2 XL (Radford et al. 2019), two of Megatron-LM (Shoeybi et al. 2019), GPT-NeoX (Black et al. 2022), GPT-3 (Brown et al. 2020). */
export const GPT_SIZES: Readonly<Record<string, GptSize>> = {
  '1.5b': { numLayers: 48, hiddenSize: 1600, numHeads: 25, sequence: 1024 },
  '2.5b': { numLayers: 54, hiddenSize: 1920, numHeads: 20, sequence: 1024 },
  '8.3b': { numLayers: 72, hiddenSize: 3072, numHeads: 32, sequence: 1024 },
  '20b': { numLayers: 44, hiddenSize: 6144, numHeads: 64, sequence: 2048 },
  '175b': { numLayers: 96, hiddenSize: 12288, numHeads: 96, sequence: 2048 },
};
/** GPT-2's tokens, padded to a multiple of 1024 as Megatron-LM does for eight tensor ranks. */
const VOCABULARY = 51200;
/** Of mixed-precision Adam training (GPT-3's figures). */
export const ADAM = { kind: 'adam', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 } as const;
/** Samples per step where nobody says: few per device on large clusters. */
const SAMPLES = { small: 256, large: 1536, largeFrom: 256 } as const;

export interface ModelRequest {
  /** `gpt:SIZE` */
  readonly model: string;
  readonly cluster: string | undefined;
  readonly globalBatch: number | undefined;
  readonly sequence: number | undefined;
  /** Flags given pin what they name. */
  readonly options: Partial<Options>;
}

/** @throws MerakError 'config/invalid' for an unknown model, size or cluster; those of `searchLayout`. */
export function planNamedModel({ model, cluster: text, globalBatch, sequence, options }: ModelRequest): PlanOutcome {
  const size = sizeOf(model);
  if (text === undefined) {
    throw new MerakError('config/invalid', 'a named model is planned for a cluster', {
      path: 'command line: --cluster',
      hint: 'e.g. --cluster 16x4:rtx3090:ib100',
    });
  }
  const precision = options.precision ?? 'bf16';
  const { cluster, workers, memoryLimitBytes } = parseCluster(text, precision);
  const length = sequence ?? size.sequence;
  const batchSize = globalBatch ?? (workers < SAMPLES.largeFrom ? SAMPLES.small : SAMPLES.large);
  const { dp, tp, pp, microBatches, schedule, chunks, recompute, shardOptimizer, subBatches, sequenceParallel } =
    options;
  const result = searchLayout({
    traceAt: gptTracer(size, length),
    workers,
    batchSize,
    cluster,
    optimizer: ADAM,
    memoryLimitBytes: options.memoryLimit ?? memoryLimitBytes,
    precision,
    pinned: {
      dp,
      tp,
      pp,
      numMicroBatches: microBatches,
      schedule,
      numChunks: chunks,
      recompute,
      shardOptimizer,
      subBatches,
      sequenceParallel: sequenceParallel === 'auto' ? undefined : sequenceParallel,
    },
  });
  const outcome = searchOutcome(`${model}, batch ${batchSize} x ${length} tokens, ${precision}`, result, ADAM);
  const tokens = (batchSize * length) / result.best.stepSeconds;
  return {
    ...outcome,
    text: `${model}, batch ${batchSize} x ${length} tokens, ${precision}: ${Math.round(tokens)} tokens/s\n${outcome.text}`,
  };
}

/** Traces a GPT's training at any micro-batch size; its weights are never made. */
export function gptTracer({ numLayers, hiddenSize, numHeads }: Omit<GptSize, 'sequence'>, length: number) {
  const config = { vocabularySize: VOCABULARY, contextLength: length, numLayers, numHeads, hiddenSize };
  const built = lazy(() => gpt(config));
  const fields = ['tokens', 'targets'].map((name) => ({ name, shape: [length], dtype: 'int32' as const }));
  return (microBatchSize: number) => optimizeGraph(traceModel(built, 'train', fields, microBatchSize).graph);
}

function sizeOf(model: string): GptSize {
  const [family = '', name = ''] = model.toLowerCase().split(':');
  const size = family === 'gpt' ? GPT_SIZES[name] : undefined;
  if (size !== undefined) return size;
  const known = Object.keys(GPT_SIZES).map((one) => `gpt:${one}`);
  throw new MerakError('config/invalid', `no model is called '${model}'`, {
    path: 'command line: --model',
    expected: known.join(', '),
    received: model,
    hint: suggestion(model, known),
  });
}
