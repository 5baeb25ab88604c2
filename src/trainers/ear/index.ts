/** `merak train ear`: zero-shot cross-lingual transfer with Embedding-Push, Attention-Pull and Robust targets. */
import * as tf from '@tensorflow/tfjs';
import { mean, standardDeviation } from 'simple-statistics';
import { charts, saveVariables } from '../../index.js';
import { defineTrainer } from '../trainer.js';
import { STSB_SOURCE } from '../words/parallelText.js';
import { config } from './config.js';
import { filesOf } from './data.js';
import { measure } from './evaluate.js';
import { classifier } from './model.js';
import { prepare } from './prepare.js';
import { sampleData } from './sample.js';
import { trainVariant } from './train.js';

export const ear = defineTrainer({
  name: 'ear',
  paper: {
    title: 'A Simple and Effective Method to Improve Zero-Shot Cross-Lingual Transfer Learning',
    year: 2022,
    id: 'arXiv 2210.09934',
  },
  description: 'zero-shot transfer from English: push embeddings, pull attention, robust targets',
  config,
  data: {
    howToGet:
      'tweets: https://github.com/cardiffnlp/xlm-t (Apache-2.0), data/sentiment/<language>/<part>_{text,labels}.txt as ' +
      'xlmt-sentiment/<language>-<part>-{text,labels}.txt; synonyms: https://github.com/robinjia/certified-word-sub (MIT) as ' +
      `synonyms/counterfitted_neighbors.json; ${STSB_SOURCE}`,
    files: filesOf,
    sample: sampleData,
  },
  prepare,

  async run(context, prepared) {
    const { variants, seeds } = context.config;
    const runs = [];
    for (const variant of variants) {
      for (let seed = context.seed; seed < context.seed + seeds; seed++) {
        const model = classifier(context.config, variant, prepared.table, seed);
        const trained = await trainVariant(context, prepared, model, variant, seed);
        const accuracies = await context.stage(`measure-${variant.name}-${seed}`, () =>
          measure(model, prepared, context.config, seed),
        );
        context.log.info({ variant: variant.name, seed, ...accuracies }, `measured ${variant.name}, seed ${seed}`);
        const weights = Object.fromEntries(model.variables.map((variable) => [variable.name, variable]));
        if (seed === context.seed) {
          await saveVariables(await context.output.path(`${variant.name}.safetensors`), weights);
        }
        model.dispose();
        runs.push({ variant: variant.name, seed, ...trained, accuracies });
      }
    }
    return runs;
  },

  async evaluate({ config: { languages, source, variants, seeds, displacements }, output }, runs, prepared) {
    const columns = [source, ...languages, ...displacements.map((length) => `displaced ${length}`)];
    const of = (variant: string, value: (run: (typeof runs)[number]) => number): number[] =>
      runs.filter((run) => run.variant === variant).map(value);
    const others = (run: (typeof runs)[number]): number => mean(languages.map((one) => run.accuracies[one]!));
    const show = (values: readonly number[]): string =>
      `${(100 * mean([...values])).toFixed(1)}${values.length > 1 ? ` ± ${(100 * standardDeviation([...values])).toFixed(1)}` : ''}`;
    await output.table('accuracy', {
      title: `Accuracy x 100 by language, trained on ${source} labels alone`,
      columns: ['variant', ...columns, `mean without ${source}`, `${source} dev`],
      rows: variants.map(({ name }) => [
        name,
        ...columns.map((column) => show(of(name, (run) => run.accuracies[column]!))),
        show(of(name, others)),
        show(of(name, (run) => run.devAccuracies[run.bestEpoch]!)),
      ]),
      notes: [
        `Mean ± standard deviation over ${seeds} seed(s). Epochs are chosen on the ${source} dev set alone.`,
        `displaced x: the ${source} test set with one vector of x standard lengths added to every token embedding.`,
      ],
    });
    await output.plot(
      'accuracy',
      charts.bars({
        title: `Accuracy by language, labels in ${source} alone`,
        y: 'accuracy x 100',
        bars: columns.flatMap((category) =>
          variants.map(({ name }) => {
            const values = of(name, (run) => 100 * run.accuracies[category]!);
            return { category, name, value: mean(values), spread: standardDeviation(values) };
          }),
        ),
      }),
    );
    await output.plot(
      'loss',
      charts.lines({
        title: 'Training loss, first seed',
        x: 'step',
        y: 'loss',
        series: variants.map(({ name }) => {
          const { losses } = runs.find((run) => run.variant === name)!;
          return { name, x: losses.map((_, step) => step), y: losses };
        }),
      }),
    );
    tf.dispose(prepared.table);
    const figures = variants.flatMap(({ name }) => [
      [`${name}Source`, mean(of(name, (run) => run.accuracies[source]!))],
      [`${name}Others`, mean(of(name, others))],
      [`${name}Loss`, runs.find((run) => run.variant === name)!.losses.at(-1)!],
      ...displacements.map((length) => [
        `${name}Displaced${length}`,
        mean(of(name, (run) => run.accuracies[`displaced ${length}`]!)),
      ]),
    ]);
    return Object.fromEntries(figures);
  },
});
