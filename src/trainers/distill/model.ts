/** Assistant and student, and what each stage minimises. */
import * as tf from '@tensorflow/tfjs';
import { type Batch, type CallOptions, type LossResult, models } from '../../index.js';
import type { Vocabulary } from '../words/vocabulary.js';
import { factorise } from './bottleneck.js';
import type { DistillConfig, StageKind } from './config.js';
import { contrast, distillation, meanSquare } from './losses.js';

/** Sentence vectors [b, H]. */
export interface SentenceEncoder {
  readonly encoder: models.Encoder;
  vectors(tokens: tf.Tensor, mask: tf.Tensor): tf.Tensor2D;
  /** The same of the embedding layer alone. */
  embeddings(tokens: tf.Tensor, mask: tf.Tensor): tf.Tensor2D;
}

/** @param table [V, H], what the embedding begins with; null: random */
export function makeAssistant(
  config: DistillConfig,
  vocabularySize: number,
  table: tf.Tensor2D | null,
  seed: number,
): SentenceEncoder {
  const { assistantLayers: numLayers, hiddenSize, numHeads, contextLength } = config;
  const shape = { vocabularySize, hiddenSize, numHeads, contextLength, numLayers, numSegments: 1 };
  const encoder = models.encoder({ ...shape, seed, name: 'assistant' });
  if (table !== null) encoder.parts.tokenTable.assign(table);
  return sentences(encoder, config);
}

/**
 * Its blocks are the assistant's first; its positions, segments and norm too (they stay H-wide). Its words are random, or the
 * assistant's projected, words counting as often as the texts have them.
 */
export function makeStudent(
  config: DistillConfig,
  assistant: models.Encoder,
  { counts }: Vocabulary,
  seed: number,
): SentenceEncoder {
  const { layersToKeep: numLayers, repeat: numRepeats, bottleneckSize, hiddenSize, numHeads, contextLength } = config;
  const { vocabularySize } = assistant.config;
  const shape = { vocabularySize, hiddenSize, numHeads, contextLength, numLayers, numSegments: 1 };
  const encoder = models.encoder({ ...shape, numRepeats, bottleneckSize, seed, name: 'student' });
  const [from, to] = [assistant, encoder].map(({ parts: { blocks, segmentTable, positionTable, embeddingNorm } }) => [
    segmentTable,
    positionTable,
    ...Object.values(embeddingNorm),
    ...blocks.slice(0, numLayers).flatMap((block) => Object.values(block).flatMap((part) => Object.values(part))),
  ]) as [tf.Variable[], tf.Variable[]];
  for (const [i, variable] of to.entries()) variable.assign(from[i]!);
  if (config.bottleneckStart === 'projected') {
    const { narrow, projection } = factorise(assistant.parts.tokenTable as tf.Tensor2D, counts, bottleneckSize);
    encoder.parts.tokenTable.assign(narrow);
    encoder.parts.bottleneck!.assign(projection);
    tf.dispose([narrow, projection]);
  }
  return sentences(encoder, config);
}

function sentences(encoder: models.Encoder, { pooling }: DistillConfig): SentenceEncoder {
  return {
    encoder,
    vectors: (tokens, mask) => models.pool(pooling, encoder.encode({ tokens, mask }).hidden, mask),
    embeddings: (tokens, mask) => models.pool(pooling, encoder.encode({ tokens, mask }).hidden.slice(0, 1), mask),
  };
}

/** The loss of a stage; `assistant` is frozen in all but its own. */
export function stageLoss(
  kind: StageKind,
  student: SentenceEncoder,
  assistant: SentenceEncoder,
): (batch: Batch, options: CallOptions) => LossResult {
  return (batch) => {
    const { english, englishMask, foreign, foreignMask, teacher } = batch as Record<string, tf.Tensor>;
    const of = (encode: SentenceEncoder['vectors']): [tf.Tensor, tf.Tensor] => [
      encode(english!, englishMask!),
      encode(foreign!, foreignMask!),
    ];
    switch (kind) {
      case 'assistant':
        return distillation(...of(student.vectors), teacher!);
      case 'bottleneck':
        return againstOwn(of(student.embeddings), of(assistant.embeddings));
      case 'recurrent':
        return againstOwn(of(student.vectors), of(assistant.vectors));
      case 'contrastive': {
        const own = of(student.vectors);
        const distilled = distillation(...own, teacher!);
        const contrasted = contrast(...own, teacher!);
        return { loss: tf.add(distilled, contrasted), distilled, contrasted };
      }
    }
  };
}

/** Each language's vectors against the assistant's of the same sentence. */
function againstOwn([english, foreign]: [tf.Tensor, tf.Tensor], [first, second]: [tf.Tensor, tf.Tensor]): tf.Tensor {
  return tf.add(meanSquare(english, first), meanSquare(foreign, second));
}

/** What a stage moves: the bottleneck stage the embedding layer alone, the others everything. */
export function trainedIn(kind: StageKind, { encoder }: SentenceEncoder): readonly tf.Variable[] {
  return kind === 'bottleneck' ? encoder.embeddingVariables : encoder.variables;
}
