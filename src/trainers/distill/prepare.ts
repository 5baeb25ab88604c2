/** Parallel sentences, the teacher's vectors of their English side, and initial word vectors. */
import type * as tf from '@tensorflow/tfjs';
import type { TrainerContext } from '../context.js';
import { readCorpus } from '../whiten/corpus.js';
import { crossLingualTable, type Document, inOneWorker } from '../words/crossLingual.js';
import { encodeSentences, idOf, SPECIAL_WORDS } from '../words/encode.js';
import { readAligned, type ScoredPairs, stsbFile } from '../words/parallelText.js';
import { wordsOf } from '../words/split.js';
import { makeVocabulary, type Vocabulary } from '../words/vocabulary.js';
import { checkChain } from './chains.js';
import type { DistillConfig } from './config.js';
import { teach } from './teacher.js';

export interface Prepared {
  readonly vocabulary: Vocabulary;
  readonly pairs: Pairs;
  /** By language, English first. */
  readonly tests: ReadonlyMap<string, ScoredPairs>;
  /** The teacher's vectors of the English test pairs, [n, H] each. */
  readonly teacherTest: { readonly first: Float32Array; readonly second: Float32Array };
  /** [V, H]; null: random. */
  readonly table: tf.Tensor2D | null;
}

/** Row i of every array belongs to pair i. */
export interface Pairs {
  readonly numSamples: number;
  /** [n, T] int32 each. */
  readonly english: Int32Array;
  readonly englishMask: Int32Array;
  readonly foreign: Int32Array;
  readonly foreignMask: Int32Array;
  /** [n, H]: the teacher's vectors of the English sentences. */
  readonly teacher: Float32Array;
}

const ENGLISH = 'en';

export async function prepare(context: TrainerContext<DistillConfig>): Promise<Prepared> {
  const { config, data } = context;
  checkChain(config);
  const all = [ENGLISH, ...config.languages];
  const read = (part: string) =>
    readAligned(Object.fromEntries(all.map((language) => [language, data.path(stsbFile(language, part))])));
  const tests = await read('test');
  const parts = await Promise.all(config.trainParts.map(read));
  const texts = (language: string): string[] =>
    parts.flatMap((part) => [...part.get(language)!.first, ...part.get(language)!.second]);
  const sentences = new Map(all.map((language) => [language, texts(language).map(wordsOf)]));
  const test = tests.get(ENGLISH)!;
  const corpus = await readCorpus(config.teacherCorpus.map((file) => data.path(file)));
  const exactly = inOneWorker(context);
  const [fitted, first, second] = await teach(exactly, texts(ENGLISH), corpus, [test.first, test.second]);
  const vocabulary = makeVocabulary([...sentences.values()].flat(), {
    minCount: config.minCount,
    special: SPECIAL_WORDS,
  });
  const table = config.latentStart ? await initialTable(exactly, sentences, vocabulary) : null;
  context.log.info(
    `${vocabulary.words.length} words, ${sentences.get(ENGLISH)!.length} parallel sentences in ${all.join(', ')}`,
  );
  return {
    vocabulary,
    pairs: pairUp(sentences, vocabulary, fitted!, config),
    tests,
    teacherTest: { first: first!, second: second! },
    table,
  };
}

type ByLanguage = ReadonlyMap<string, readonly (readonly string[])[]>;

/** Words of every language counted with the English words of the same row, so that translations have the same contexts. */
async function initialTable(
  context: TrainerContext<DistillConfig>,
  sentences: ByLanguage,
  vocabulary: Vocabulary,
): Promise<tf.Tensor2D> {
  const { contextWords, hiddenSize: size } = context.config;
  const english = sentences.get(ENGLISH)!;
  const contexts = makeVocabulary(english, { maxSize: contextWords, special: SPECIAL_WORDS });
  const contextIds = english.map((words) => words.map((word) => idOf(contexts, word)));
  function* documents(): Generator<Document> {
    for (const rows of sentences.values()) {
      for (const [row, words] of rows.entries())
        yield { words: words.map((word) => idOf(vocabulary, word)), contexts: contextIds[row]! };
    }
  }
  const [numWords, numContexts] = [vocabulary.words.length, contexts.words.length];
  const options = { numWords, numContexts, size, seed: context.seed };
  return crossLingualTable(context, 'initial', documents(), options);
}

/** Every foreign language's first `pairsPerLanguage` sentences beside their English ones, evenly spread over the rows. */
function pairUp(
  sentences: ByLanguage,
  vocabulary: Vocabulary,
  teacher: Float32Array,
  { languages, pairsPerLanguage, contextLength, hiddenSize }: DistillConfig,
): Pairs {
  const english = sentences.get(ENGLISH)!;
  const size = Math.min(pairsPerLanguage, english.length);
  const rows = languages.flatMap((_, shift) =>
    Array.from({ length: size }, (_, i) => (Math.floor((i * english.length) / size) + shift) % english.length),
  );
  const foreign = languages.flatMap((language, k) =>
    rows.slice(k * size, (k + 1) * size).map((row) => sentences.get(language)![row]!),
  );
  const source = encodeSentences(
    vocabulary,
    rows.map((row) => english[row]!),
    contextLength,
  );
  const target = encodeSentences(vocabulary, foreign, contextLength);
  const targets = new Float32Array(rows.length * hiddenSize);
  for (const [i, row] of rows.entries()) {
    targets.set(teacher.subarray(row * hiddenSize, (row + 1) * hiddenSize), i * hiddenSize);
  }
  return {
    numSamples: rows.length,
    english: source.tokens,
    englishMask: source.mask,
    foreign: target.tokens,
    foreignMask: target.mask,
    teacher: targets,
  };
}
