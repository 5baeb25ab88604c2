/** Data, vocabulary and the word vectors the encoder begins with. */
import type * as tf from '@tensorflow/tfjs';
import type { TrainerContext } from '../context.js';
import { crossLingualTable, type Document, inOneWorker } from '../words/crossLingual.js';
import { type EncodedSentences, encodeSentences, idOf, SPECIAL_WORDS } from '../words/encode.js';
import { makeVocabulary, type Vocabulary } from '../words/vocabulary.js';
import type { EarConfig } from './config.js';
import { type EarData, readData } from './data.js';

export interface Prepared extends EarData {
  readonly vocabulary: Vocabulary;
  readonly encodedDev: EncodedSentences;
  /** [V, H]. */
  readonly table: tf.Tensor2D;
}

export async function prepare(context: TrainerContext<EarConfig>): Promise<Prepared> {
  const { config, seed } = context;
  const read = await readData(context);
  const tweets = [...read.train.sentences, ...read.unlabelled];
  const vocabulary = makeVocabulary([...tweets, ...read.aligned.flat()], {
    minCount: config.minCount,
    special: SPECIAL_WORDS,
  });
  const numWords = vocabulary.words.length;
  const numContexts = Math.min(config.contextWords, numWords);
  const table = await crossLingualTable(inOneWorker(context), 'initial', documents(tweets, read.aligned, vocabulary), {
    ...{ numWords, numContexts, seed },
    size: config.hiddenSize,
  });
  context.log.info(`${numWords} words, ${numContexts} of them contexts`);
  const encodedDev = encodeSentences(vocabulary, read.dev.sentences, config.contextLength);
  return { ...read, vocabulary, encodedDev, table };
}

/**
 * A tweet is counted with its own words; a row of translations, in every language, with the words of the first, so that
 * translations of a word have the same contexts.
 */
function* documents(
  tweets: readonly (readonly string[])[],
  aligned: readonly (readonly (readonly string[])[])[],
  vocabulary: Vocabulary,
): Generator<Document> {
  const ids = (words: readonly string[]): number[] => words.map((word) => idOf(vocabulary, word));
  for (const tweet of tweets) {
    const words = ids(tweet);
    yield { words, contexts: words };
  }
  for (const [first, ...others] of aligned) {
    const contexts = ids(first!);
    yield { words: contexts, contexts };
    for (const other of others) yield { words: ids(other), contexts };
  }
}
