/** `merak train drl-fsod`: few-shot detection with dynamic relevance learning, with and without, in pairs. */
import * as tf from '@tensorflow/tfjs';
import { charts, MerakError } from '../../index.js';
import type { TrainerContext } from '../context.js';
import { defineTrainer } from '../trainer.js';
import type { AnnotatedImage } from '../vision/annotations.js';
import type { Detection } from '../vision/averagePrecision.js';
import { readCoco } from '../vision/coco.js';
import { readVoc } from '../vision/voc.js';
import { config, type FsodConfig } from './config.js';
import { detector } from './detector.js';
import { baseEpisode, cutSupports, type Episode, episodeSource, fewShotEpisode, type Supports } from './episodes.js';
import { meanPrecision, measure } from './measure.js';
import { PACKED_BOXES, PACKED_PIXELS, readPacked } from './packed.js';
import { drawDetections } from './picture.js';
import { STRIDE } from './trunk.js';
import { writeWorld } from './world.js';

const READERS = { voc: readVoc, coco: readCoco, packed: readPacked };
const NUM_DRAWN = 6;
type Arm = FsodConfig['arms'][number];

interface Prepared {
  readonly classes: readonly string[];
  readonly train: readonly AnnotatedImage[];
  readonly test: readonly AnnotatedImage[];
}

interface Run {
  readonly arm: Arm;
  readonly seed: number;
  readonly loss: number;
  /** By label; null where there is no test box. */
  readonly precisions: readonly (number | null)[];
  /** Of the first test images. */
  readonly drawn: readonly { image: number; label: number; score: number; box: readonly number[] }[];
}

export const drlFsod = defineTrainer({
  name: 'drl-fsod',
  paper: { title: 'Dynamic Relevance Learning for Few-Shot Object Detection', year: 2021, id: 'arXiv 2108.02235' },
  description: 'few-shot detection: proposals, support prototypes, and a relevance graph as a second task',
  config,
  data: {
    howToGet:
      'a folder as Pascal VOC (ImageSets/Main, Annotations, JPEGImages) or COCO (annotations, images) with images of one size; ' +
      '--sample generates one',
    files: ({ format, train, test }) => {
      if (format === 'packed') return [PACKED_BOXES, PACKED_PIXELS];
      return [train, test].map((split) =>
        format === 'voc' ? `ImageSets/Main/${split}.txt` : `annotations/${split}.json`,
      );
    },
    sample: (folder, { train, test, trainImages, testImages }, seed) =>
      writeWorld(folder, { [train]: trainImages, [test]: testImages }, seed),
  },

  async prepare({ config: options, data, seed }): Promise<Prepared> {
    const classes = [...options.baseClasses, ...options.novelClasses];
    const read = (split: string) => READERS[options.format]((file) => data.path(file), split, classes);
    const [train, test] = [await read(options.train), await read(options.test)];
    checkImages(data.folder, [...train, ...test]);
    for (let i = 0; i < options.numSeeds; i++) fewShot(train, classes, options, seed + i, data.folder);
    return { classes, train, test };
  },

  async run(context, { classes, train, test }) {
    const { config: options, seed, data } = context;
    const baseLabels = options.baseClasses.map((_, label) => label);
    const base = baseEpisode(train, baseLabels);
    const baseSupports = await cutSupports(base, options.supportSize);
    const runs: Run[] = [];
    for (let i = 0; i < options.numSeeds; i++) {
      const few = fewShot(train, classes, options, seed + i, data.folder);
      const fewSupports = await cutSupports(few, options.supportSize);
      for (const arm of options.arms) {
        const phases = [
          { name: 'base', episode: base, supports: baseSupports, steps: options.baseSteps, rate: options.learningRate },
          {
            name: 'fine',
            episode: few,
            supports: fewSupports,
            steps: options.fineTuneSteps,
            rate: options.fineTuneRate,
          },
        ];
        const run = await context.stage(`measure-${arm}-${i}`, () =>
          trainOne(context, { arm, seed: seed + i, phases, classes, test }),
        );
        runs.push(run as unknown as Run);
      }
    }
    return runs;
  },

  async evaluate({ config: options, output }, runs, { classes, test }) {
    const { arms, numSeeds } = options;
    const labels = {
      base: options.baseClasses.map((_, i) => i),
      novel: classes.map((_, i) => i).slice(options.baseClasses.length),
    };
    const of = (arm: Arm): Run[] => runs.filter((run) => run.arm === arm);
    const figures: Record<string, number> = {};
    const rows: (string | number)[][] = [];
    const bars: { category: string; name: string; value: number; spread: number }[] = [];
    for (const arm of arms) {
      for (const kind of ['base', 'novel'] as const) {
        const each = of(arm).map(({ precisions }) => meanPrecision(precisions, labels[kind]));
        const { mean, spread } = summary(each);
        const gain = summary(
          of(arms[0]!).map(({ precisions }, i) => each[i]! - meanPrecision(precisions, labels[kind])),
        );
        rows.push([
          arm,
          kind,
          mean,
          spread,
          arm === arms[0] ? '' : gain.mean,
          arm === arms[0] ? '' : gain.spread / Math.sqrt(numSeeds),
        ]);
        bars.push({ category: kind, name: arm, value: mean, spread });
        if (Number.isFinite(mean)) figures[`${kind}AP50-${arm}`] = mean;
      }
      figures[`loss-${arm}`] = of(arm).at(-1)!.loss;
    }
    await output.table('ap50', {
      title: `AP50 after ${options.shots} shots, ${numSeeds} seeds`,
      columns: [
        'relevance graph',
        'classes',
        'AP50',
        'deviation over seeds',
        `minus ${arms[0]}, paired`,
        'standard error of that',
      ],
      rows,
    });
    await output.table('classes', {
      title: 'AP50 by class, mean over seeds',
      columns: ['class', 'kind', ...arms],
      rows: classes.map((name, label) => [
        name,
        labels.base.includes(label) ? 'base' : 'novel',
        ...arms.map((arm) => meanOf(of(arm).map(({ precisions }) => precisions[label] ?? Number.NaN))),
      ]),
    });
    await output.plot('ap50', charts.bars({ title: 'AP50 with and without the relevance graph', y: 'AP50', bars }));
    const last = runs.at(-1)!;
    await output.text('detections.svg', drawDetections(test.slice(0, NUM_DRAWN), last.drawn, classes));
    return figures;
  },
});

interface Phase {
  readonly name: string;
  readonly episode: Episode;
  readonly supports: Supports;
  readonly steps: number;
  readonly rate: number;
}

interface One {
  readonly arm: Arm;
  readonly seed: number;
  readonly phases: readonly Phase[];
  readonly classes: readonly string[];
  readonly test: readonly AnnotatedImage[];
}

async function trainOne(context: TrainerContext<FsodConfig>, { arm, seed, phases, classes, test }: One) {
  const { config: options } = context;
  const [{ width, height }] = test as [AnnotatedImage];
  const model = detector({
    ...options,
    numClasses: classes.length,
    imageWidth: width,
    imageHeight: height,
    architecture: arm,
    seed,
  });
  const maxObjects = Math.max(...phases.flatMap(({ episode }) => episode.images.map(({ objects }) => objects.length)));
  let loss = Number.NaN;
  for (const { name, episode, supports, steps, rate } of phases) {
    const source = episodeSource(episode, supports, { ...options, steps, maxObjects, key: `${name}/${seed}` });
    const parallel = await context.wrap(model, { optimizer: tf.train.adam(rate), clipNorm: 5 });
    const { losses } = await context.fit(`${name}-${arm}-${seed}`, parallel, source, {
      learningRate: (step) => rate * (1 - (0.95 * step) / steps),
    });
    loss = losses.at(-1)!;
    await parallel.close();
  }
  const { detections, precisions } = await measure(model, phases.at(-1)!.supports, test, {
    ...options,
    numClasses: classes.length,
  });
  tf.dispose([...model.variables]);
  context.log.info(`${arm}, seed ${seed}: loss ${loss.toFixed(4)}`);
  return {
    ...{ arm, seed, loss },
    precisions: precisions.map((one) => (Number.isFinite(one) ? one : null)),
    drawn: test.slice(0, NUM_DRAWN).flatMap(({ objects }, i) => mostCertain(detections, i, objects.length)),
  };
}

/** As many as the image has true boxes, so that a picture shows something however little was learnt. */
function mostCertain(detections: readonly Detection[], image: number, count: number): Run['drawn'] {
  const own = detections.filter((one) => one.image === image).sort((a, b) => b.score - a.score);
  return own.slice(0, count).map((one) => ({ ...one, box: [...one.box] }));
}

function fewShot(
  images: readonly AnnotatedImage[],
  classes: readonly string[],
  { shots }: FsodConfig,
  seed: number,
  path: string,
) {
  return fewShotEpisode(
    images,
    classes.map((_, label) => label),
    { shots, seed, classes, path },
  );
}

function checkImages(folder: string, images: readonly AnnotatedImage[]): void {
  const [first] = images;
  for (const { id, width, height } of images) {
    if (width === first!.width && height === first!.height && width % STRIDE === 0 && height % STRIDE === 0) continue;
    throw new MerakError('trainer/data', `image ${id} is not of a size that can be trained on`, {
      path: folder,
      expected: `the size of the others (${first!.width} x ${first!.height}), both sides multiples of ${STRIDE}`,
      received: `${width} x ${height}`,
      hint: 'resize or pad the images to one size, and the boxes with them',
    });
  }
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, one) => sum + one, 0) / values.length;
}

function summary(values: readonly number[]): { mean: number; spread: number } {
  const mean = meanOf(values);
  const squares = values.reduce((sum, one) => sum + (one - mean) ** 2, 0);
  return { mean, spread: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 };
}
