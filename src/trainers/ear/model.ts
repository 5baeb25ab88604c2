/** One encoder and one classification head, through which both streams go. */
import * as tf from '@tensorflow/tfjs';
import { type Batch, type CallOptions, type FunctionalModel, type LossResult, models, nn } from '../../index.js';
import type { EarConfig, Variant } from './config.js';
import { LABELS } from './data.js';
import { earLoss, type Stream } from './losses.js';

export interface Classifier extends FunctionalModel {
  readonly variables: readonly tf.Variable[];
  /** [numSegments, H]: its row 0 is part of every token's embedding. */
  readonly segmentTable: tf.Variable;
  readonly tokenTable: tf.Variable;
  /** [b, 3] from `tokens` and `mask`. */
  predict(batch: Batch): tf.Tensor2D;
  dispose(): void;
}

/** @param table [V, H], what the token table begins with */
export function classifier(config: EarConfig, variant: Variant, table: tf.Tensor2D, seed: number): Classifier {
  const { hiddenSize, numHeads, numLayers, contextLength, dropout } = config;
  const pass = config.attentionPass ?? Math.floor((numLayers - 1) / 2);
  const encoder = models.encoder({
    vocabularySize: table.shape[0],
    ...{ hiddenSize, numHeads, numLayers, contextLength, dropout, seed },
    numSegments: 1,
    name: 'ear',
  });
  encoder.parts.tokenTable.assign(table);
  const head = {
    weight: nn.variable(
      'ear/head/weight',
      [hiddenSize, LABELS.length],
      { kind: 'normal', mean: 0, stddev: 0.02 },
      { seed },
    ),
    bias: nn.variable('ear/head/bias', [LABELS.length], { kind: 'constant', value: 0 }, { seed }),
  };
  const paired = variant.robust || variant.push || variant.pull;

  function streamOf(tokens: tf.Tensor, mask: tf.Tensor, training: boolean, stream: number): Stream {
    const wanted = variant.pull && training ? [pass] : [];
    const { hidden, attentions } = encoder.encode({ tokens, mask }, { training, attentions: wanted, stream });
    const pooled = nn.dropout(models.pool(config.pooling, hidden, mask), { rate: dropout, training });
    const logits = nn.dense(pooled, head.weight, head.bias) as tf.Tensor2D;
    return { logits, embedded: hidden[0]!, attention: attentions[0], mask };
  }

  return {
    variables: [...encoder.variables, head.weight, head.bias],
    segmentTable: encoder.parts.segmentTable,
    tokenTable: encoder.parts.tokenTable,
    loss({ tokens, mask, originalTokens, originalMask, labels }: Batch, { training }: CallOptions): LossResult {
      const perturbed = streamOf(tokens!, mask!, training, 0);
      const original = paired ? streamOf(originalTokens!, originalMask!, training, 1) : undefined;
      // Attention maps are outputs in training only.
      const switches = { ...variant, pull: variant.pull && training, alpha: config.alpha, beta: config.beta };
      return earLoss(perturbed, original, labels!, switches);
    },
    predict: ({ tokens, mask }: Batch) => streamOf(tokens!, mask!, false, 0).logits,
    dispose: () => tf.dispose([...encoder.variables, head.weight, head.bias]),
  };
}
