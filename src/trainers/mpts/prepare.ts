/** Pairs read, checked, tokenised; the tables that models begin with. */
import * as tf from '@tensorflow/tfjs';
import { text } from '../../index.js';
import type { TrainerContext } from '../context.js';
import { crossLingualTable, type Document, inOneWorker } from '../words/crossLingual.js';
import type { MptsConfig } from './config.js';
import { numShared, type Pairs, readPairs, slice } from './data.js';
import { idfOf } from './encoder.js';

export interface Prepared {
  readonly tokenizer: text.TextTokenizer;
  readonly train: Pairs;
  /** By which the epoch is chosen; undefined where none are held out. */
  readonly held: Pairs | undefined;
  readonly test: Pairs;
  /** By token id. */
  readonly idf: Float32Array;
  /** [V, hiddenSize]: what token tables begin with; undefined where they begin random or loaded. */
  readonly table: tf.Tensor2D | undefined;
}

const NUM_SPECIAL = text.SPECIAL_TOKENS.length;
/** The most frequent words are the contexts of all. */
const NUM_CONTEXTS = 2000;

export async function prepare(context: TrainerContext<MptsConfig>): Promise<Prepared> {
  const { config, data, seed, log } = context;
  const all = await readPairs(data.path(config.train), config.perspectives);
  const test = await readPairs(data.path(config.test), config.perspectives);
  const shared = numShared(all, test);
  if (shared > 0) log.warn(`${shared} texts of the test pairs are in the training pairs too`);
  const numTrained = Math.max(1, all.first.length - Math.floor(all.first.length * config.heldOut));
  const train = slice(all, 0, numTrained);
  const plots = [...new Set([...train.first, ...train.second])];
  const tokenizer =
    config.checkpoint === undefined
      ? text.trainTokenizer(plots, { kind: 'word', vocabularySize: config.vocabularySize, lowercase: true })
      : await text.loadTokenizer(config.checkpoint);
  const { vocabularySize } = tokenizer;
  const documents = plots.map((plot) => Int32Array.from(tokenizer.encode(plot, config.contextLength)));
  log.info(
    `${numTrained} training pairs of ${plots.length} plots, ${test.first.length} test pairs; ${vocabularySize} words`,
  );
  return {
    tokenizer,
    train,
    held: numTrained < all.first.length ? slice(all, numTrained, all.first.length) : undefined,
    test,
    idf: idfOf(documents, vocabularySize, NUM_SPECIAL),
    table: config.initial === 'counts' ? await countedTable(documents) : undefined,
  };

  function countedTable(plotIds: readonly Int32Array[]): Promise<tf.Tensor2D> {
    const numContexts = Math.min(NUM_CONTEXTS, vocabularySize);
    const read = function* (): Generator<Document> {
      for (const ids of plotIds) {
        const words = [...ids].filter((id) => id >= NUM_SPECIAL);
        yield { words, contexts: words };
      }
    };
    return crossLingualTable(inOneWorker(context), 'initial', read(), {
      ...{ numWords: vocabularySize, numContexts, seed },
      size: config.hiddenSize,
    });
  }
}

/** Fields of a batch, as one sequence per text or per pair. */
export interface EncodedPairs {
  readonly numSamples: number;
  readonly fields: Readonly<Record<string, { readonly data: Int32Array | Float32Array; readonly width: number }>>;
}

export function encodePairs(
  { first, second, labels }: Pairs,
  tokenizer: text.TextTokenizer,
  { contextLength, jointLength }: MptsConfig,
  asOneSequence: boolean,
): EncodedPairs {
  const numSamples = first.length;
  const field = (data: Int32Array | Float32Array) => ({ data, width: data.length / numSamples });
  const given = { labels: field(labels) };
  if (asOneSequence) {
    const pairs = first.map((a, row) => [a, second[row]!] as const);
    const { tokens, mask, segments } = tokenizer.batch(pairs, jointLength);
    return { numSamples, fields: { tokens: field(tokens), mask: field(mask), segments: field(segments), ...given } };
  }
  const [a, b] = [first, second].map((texts) => tokenizer.batch(texts, contextLength)) as [
    text.EncodedBatch,
    text.EncodedBatch,
  ];
  return {
    numSamples,
    fields: {
      tokensA: field(a.tokens),
      maskA: field(a.mask),
      tokensB: field(b.tokens),
      maskB: field(b.mask),
      ...given,
    },
  };
}

/** What `predict` takes: all fields but the labels. */
export function tensorsOf({ numSamples, fields }: EncodedPairs): Record<string, tf.Tensor> {
  const inputs = Object.entries(fields).filter(([name]) => name !== 'labels');
  return Object.fromEntries(
    inputs.map(([name, { data, width }]) => [name, tf.tensor2d(data, [numSamples, width], 'int32')]),
  );
}
