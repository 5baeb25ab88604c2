/** `merak train whiten`: sentence vectors with mean 0 and covariance 1 (Su et al. 2021), from one pass over them. */

import * as tf from '@tensorflow/tfjs';
import { charts, readers, type SpmdGroup, saveState } from '../../index.js';
import type { TrainerContext } from '../context.js';
import { momentsOf } from '../statistics/moments.js';
import { defineTrainer } from '../trainer.js';
import { trainWordVectors } from '../wordVectors/train.js';
import { config, type WhitenConfig } from './config.js';
import { filesOf, readData, type TextData, type VectorData } from './data.js';
import { type Measurements, measure } from './measure.js';
import { samplePairs } from './sample.js';
import { sentenceVectors } from './sentences.js';
import { type Whitening, whitenAll, whitened, whitenings } from './transform.js';

/** Vectors that fit in memory are measured; what is larger is whitened only. */
const MAX_MEASURED_FLOATS = 2 ** 28;

interface Variant extends Measurements {
  readonly source: 'none' | 'target' | 'corpus';
  readonly numComponents: number;
}

export const whiten = defineTrainer({
  name: 'whiten',
  paper: {
    title: 'Whitening Sentence Representations for Better Semantics and Faster Retrieval',
    year: 2021,
    id: 'arXiv 2103.15316',
  },
  description: 'whitens sentence vectors by statistics of one pass, and measures what that brings',
  config,
  data: {
    howToGet:
      'stsb-multi-mt (https://github.com/PhilipMay/stsb-multi-mt: stsb-en-{train,dev,test}.csv) as stsb-multi-mt/, and MPTS ' +
      '(https://github.com/autoliuweijie/MPTS: dev.tsv, test.tsv) as mpts/ for the words; or your own by pairs, fitPairs, corpus',
    files: filesOf,
    sample: (folder, options, seed) => samplePairs(folder, filesOf(options), seed),
  },

  prepare: ({ config: options, data }) => readData(options, data),

  async run(context, data) {
    const words =
      data.kind === 'texts'
        ? await trainWordVectors(context, 'words', data.texts, data.vocabulary, {
            ...context.config,
            power: context.config.singularPower,
            seed: context.seed,
          })
        : undefined;
    const group = await context.spmd();
    const opened: readers.NpyFile[] = [];
    try {
      const vectorsOf = async (which: 'target' | 'corpus'): Promise<readers.RowSource> => {
        if (data.kind === 'texts') {
          const { vocabulary } = data;
          const made = await sentenceVectors(group, data[which], vocabulary, words!, context.config.weighting);
          return readers.rowsInMemory(made, words!.size);
        }
        const file = await readers.openNpy(data[which]!);
        opened.push(file);
        return file;
      };
      return await fitAndMeasure(context, data, group, vectorsOf);
    } finally {
      for (const file of opened) await file.close();
    }
  },

  async evaluate({ config: options, output }, { variants, transforms }) {
    const ids = variants.map(({ source, numComponents }) =>
      source === 'none' ? 'plain' : `${source}-${numComponents}`,
    );
    await output.table('whitening', {
      title: 'Sentence vectors before and after whitening',
      columns: ['statistics', 'columns', 'Spearman x 100', 'mean cosine', 'bytes per vector', 'ms per query'],
      rows: variants.map(({ source, numComponents, spearman, isotropy, bytesPerVector, queryMilliseconds }) => [
        source === 'none' ? 'none (plain)' : source,
        numComponents,
        (100 * spearman).toFixed(2),
        isotropy,
        bytesPerVector,
        queryMilliseconds.toFixed(4),
      ]),
      notes: [
        `Queries: exhaustive, the ten nearest, up to 64 queries a call; the median of ${options.retrievalRounds} calls.`,
        'Mean cosine: of all pairs of different sentences; 0 is isotropic.',
      ],
    });
    const measured = variants.filter(({ spearman }) => !Number.isNaN(spearman));
    if (measured.length > 0) {
      await output.plot(
        'whitening',
        charts.bars({
          title: 'Agreement with human scores',
          y: 'Spearman x 100',
          bars: measured.map(({ source, numComponents, spearman }) => ({
            category: source === 'none' ? 'plain' : `${numComponents} columns`,
            name: source === 'none' ? 'no whitening' : `${source} statistics`,
            value: 100 * spearman,
          })),
        }),
      );
    }
    await output.plot(
      'variances',
      charts.lines({
        title: 'Variance along the principal directions',
        x: 'direction',
        y: 'variance',
        logY: true,
        series: transforms.map(({ source, whitening: { variances } }) => {
          const positive = Array.from(variances).filter((value) => value > variances[0]! * 1e-9);
          return { name: source, x: positive.map((_, i) => i + 1), y: positive };
        }),
      }),
    );
    return Object.fromEntries(
      variants.flatMap(({ spearman, isotropy }, i) => [
        ...(Number.isNaN(spearman) ? [] : [[`spearman-${ids[i]}`, spearman] as const]),
        ...(Number.isNaN(isotropy) ? [] : [[`isotropy-${ids[i]}`, isotropy] as const]),
      ]),
    );
  },

  async export({ config: options, output }, { group, transforms }, data) {
    for (const { source, whitening } of transforms) {
      const { size, numComponents, mean, matrix } = whitening;
      const tensors = { mean: tf.tensor1d(mean), matrix: tf.tensor2d(matrix, [size, numComponents]) };
      await saveState(await output.path(`transform-${source}`), tensors);
      tf.dispose(Object.values(tensors));
    }
    if (data.kind === 'texts') return;
    const whitening = transforms[0]?.whitening;
    if (whitening === undefined) return;
    const file = await readers.openNpy(data.target);
    try {
      const shape = { numRows: file.numRows, size: whitening.numComponents };
      const blocks = whitened(group, file, whitening, options.blockRows);
      await readers.writeNpy(await output.path('whitened.npy'), shape, blocks);
    } finally {
      await file.close();
    }
  },
});

interface Transform {
  readonly source: 'target' | 'corpus';
  /** With the first number of columns asked for. */
  readonly whitening: Whitening;
}

interface Fitted {
  /** Still open, for the export. */
  readonly group: SpmdGroup;
  readonly variants: readonly Variant[];
  readonly transforms: readonly Transform[];
}

async function fitAndMeasure(
  context: TrainerContext<WhitenConfig>,
  data: TextData | VectorData,
  group: SpmdGroup,
  vectorsOf: (which: 'target' | 'corpus') => Promise<readers.RowSource>,
): Promise<Fitted> {
  const { sources, numComponents, eps, blockRows, retrievalRounds } = context.config;
  const target = await vectorsOf('target');
  const isMeasured = target.numRows * target.size <= MAX_MEASURED_FLOATS;
  const variants: Variant[] = [];
  const transforms: Transform[] = [];
  const note = async (source: Variant['source'], vectors: Float32Array, size: number): Promise<void> => {
    const measured = await measure(group, vectors, size, data.scores, retrievalRounds);
    context.log.info(
      `${source} ${size}: Spearman ${(100 * measured.spearman).toFixed(2)}, mean cosine ${measured.isotropy.toFixed(4)}`,
    );
    variants.push({ source, numComponents: size, ...measured });
  };
  if (isMeasured) await note('none', await target.read(0, target.numRows), target.size);
  for (const source of sources) {
    if (data.kind === 'vectors' && data[source] === undefined) continue;
    const fitted = source === 'target' ? target : await vectorsOf('corpus');
    const found = await momentsOf(context, `moments-${source}`, group, fitted, blockRows);
    const made = whitenings(
      found,
      numComponents.filter((columns) => columns !== 0),
      eps,
    );
    if (made.length > 0) transforms.push({ source, whitening: made[0]! });
    for (const whitening of isMeasured ? made : []) {
      await note(source, await whitenAll(group, target, whitening, blockRows), whitening.numComponents);
    }
  }
  return { group, variants, transforms };
}
