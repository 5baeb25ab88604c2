/** Tables, pictures and headline figures of trained models. */
import { mean, standardDeviation } from 'simple-statistics';
import { charts } from '../../index.js';
import type { TrainerContext } from '../context.js';
import type { Figures } from '../trainer.js';
import type { Mode, MptsConfig } from './config.js';
import { type Measure, type Scores, weighted } from './measure.js';
import type { Trained } from './train.js';

const NAMES: Readonly<Record<Mode, string>> = {
  single: 'one similarity',
  bi: 'bi-encoder',
  cross: 'cross-encoder',
};

export async function report(
  { config, output }: Pick<TrainerContext<MptsConfig>, 'config' | 'output'>,
  runs: readonly Trained[],
  numPairs: { readonly train: number; readonly held: number; readonly test: number },
): Promise<Figures> {
  const { modes, perspectives, numSeeds } = config;
  const of = (mode: Mode, value: (run: Trained) => number): number[] =>
    runs.filter((run) => run.mode === mode).map(value);
  const headline = (mode: Mode, measure: Measure): number[] => of(mode, ({ scores }) => weighted(scores)[measure]);
  const at = (mode: Mode, place: number, measure: Measure): number[] =>
    of(mode, ({ scores }) => (scores[place] as Scores)[measure]);

  await output.table('weighted', {
    title: 'Weighted by the number of positive pairs',
    columns: ['model', 'F1', 'AUC', 'accuracy', 'precision', 'recall', 'parameters'],
    rows: modes.map((mode) => [
      NAMES[mode],
      ...(['f1', 'auc', 'accuracy', 'precision', 'recall'] as const).map((measure) => spread(headline(mode, measure))),
      of(mode, ({ numParameters }) => numParameters)[0]!,
    ]),
    notes: [
      `Mean${numSeeds > 1 ? ' ± standard deviation' : ''} over ${numSeeds} seed(s); threshold 0.5.`,
      `${numPairs.train} training pairs (${config.train}), ${numPairs.held} held out of them to choose the epoch, ${numPairs.test} test pairs (${config.test}).`,
    ],
  });
  await output.table('perspectives', {
    title: 'By perspective',
    columns: ['perspective', 'positives', ...modes.flatMap((mode) => [`${NAMES[mode]} F1`, 'AUC', 'accuracy'])],
    rows: perspectives.map((name, place) => [
      name,
      runs[0]!.scores[place]!.support,
      ...modes.flatMap((mode) => (['f1', 'auc', 'accuracy'] as const).map((one) => spread(at(mode, place, one)))),
    ]),
    notes: ['AUC is NaN where no pair is positive.'],
  });
  const bar = (category: string, name: string, values: readonly number[]) => ({
    ...{ category, name, value: mean([...values]) },
    ...(values.length > 1 ? { spread: standardDeviation([...values]) } : {}),
  });
  await output.plot(
    'auc',
    charts.bars({
      title: 'Area under the ROC curve by perspective (0.5: chance)',
      y: 'AUC',
      bars: [
        ...modes.map((mode) => bar('weighted', NAMES[mode], headline(mode, 'auc'))),
        ...perspectives.flatMap((name, place) => modes.map((mode) => bar(name, NAMES[mode], at(mode, place, 'auc')))),
      ].filter(({ value }) => Number.isFinite(value)),
    }),
  );
  await output.plot(
    'loss',
    charts.lines({
      title: 'Training loss, first seed',
      x: 'step',
      y: 'binary cross-entropy (nats)',
      series: modes.map((mode) => {
        const { losses } = runs.find((run) => run.mode === mode)!.fit;
        return { name: NAMES[mode], x: losses.map((_, step) => step), y: losses };
      }),
    }),
  );
  return Object.fromEntries(
    modes.flatMap((mode) => [
      [`${mode}F1`, mean(headline(mode, 'f1'))],
      [`${mode}Auc`, mean(headline(mode, 'auc'))],
      [`${mode}Loss`, runs.find((run) => run.mode === mode)!.fit.losses.at(-1)!],
    ]),
  );
}

function spread(values: readonly number[]): string {
  const shown = mean([...values]).toFixed(3);
  return values.length > 1 ? `${shown} ± ${standardDeviation([...values]).toFixed(3)}` : shown;
}
