/** Pairs of streams as batches. */
import { type BatchSource, data } from '../../index.js';
import { type EncodedSentences, encodeSentences } from '../words/encode.js';
import type { Vocabulary } from '../words/vocabulary.js';
import type { EarConfig, Variant } from './config.js';
import type { Labelled } from './data.js';
import { perturb, type Synonyms } from './synonyms.js';

/** `copies` of every sentence: stream 0 perturbed where the variant says so, stream 1 the original. */
export function trainingBatches(
  { sentences, labels }: Labelled,
  vocabulary: Vocabulary,
  synonyms: Synonyms,
  config: EarConfig,
  variant: Variant,
  seed: number,
): BatchSource {
  const { copies, contextLength, batchSize, replaceRate: rate } = config;
  const usable = config.knownOnly ? known(synonyms, vocabulary) : synonyms;
  const original = Array.from({ length: copies }, () => sentences).flat();
  const perturbed = variant.perturb
    ? original.map((words, index) => perturb(words, usable, { seed, index, rate }))
    : original;
  const first = encodeSentences(vocabulary, perturbed, contextLength);
  const second = encodeSentences(vocabulary, original, contextLength);
  const numSamples = original.length;
  const field = (name: string, values: Int32Array, shape: readonly number[] = [contextLength]) => ({
    spec: { name, shape, dtype: 'int32' as const },
    data: values,
  });
  const paired = variant.robust || variant.push || variant.pull;
  return data.arraySource(
    [
      field('tokens', first.tokens),
      field('mask', first.mask),
      ...(paired ? [field('originalTokens', second.tokens), field('originalMask', second.mask)] : []),
      field(
        'labels',
        Int32Array.from({ length: numSamples }, (_, i) => labels[i % labels.length]!),
        [],
      ),
    ],
    { numSamples, batchSize, shuffle: true, seed },
  );
}

function known(synonyms: Synonyms, vocabulary: Vocabulary): Synonyms {
  const entries = [...synonyms].map(
    ([word, neighbours]) => [word, neighbours.filter((one) => vocabulary.ids.has(one))] as const,
  );
  return new Map(entries);
}

export function encodeTest(vocabulary: Vocabulary, { sentences }: Labelled, length: number): EncodedSentences {
  return encodeSentences(vocabulary, sentences, length);
}
