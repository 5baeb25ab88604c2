/** Tables, pictures, answers beside the papers, and headline figures. */
import { charts } from '../../index.js';
import type { TrainerContext } from '../context.js';
import type { Figures } from '../trainer.js';
import { type CslConfig, TASKS } from './config.js';
import { baselines, type Measured, scoresOf } from './measure.js';
import type { Prepared } from './prepare.js';
import type { TrainedArm } from './train.js';

const MEASURES = { accuracy: 'accuracy', rougeL: 'ROUGE-L', bpref: 'Bpref', f1: 'keyword F1' } as const;
const TASK_NAMES = { ctg: 'category', dcp: 'discipline', kg: 'keywords', ts: 'title' } as const;

export async function report(
  { config, output, seed }: Pick<TrainerContext<CslConfig>, 'config' | 'output' | 'seed'>,
  arms: readonly TrainedArm[],
  prepared: Prepared,
): Promise<Figures> {
  const ofArms: Measured[] = arms.flatMap(({ arm, answers }) =>
    arm.tasks.map((task) => ({ name: arm.name, task, scores: scoresOf(task, answers[task]!, prepared, seed) })),
  );
  const ofBaselines = baselines(prepared);
  const rows = TASKS.flatMap((task) => [...ofBaselines, ...ofArms].filter((one) => one.task === task));
  const armOf = (name: string) => arms.find(({ arm }) => arm.name === name)?.arm;
  const trained = (name: string): string => {
    const arm = armOf(name);
    if (arm === undefined) return '-';
    const counts = arm.tasks.map((task) => `${prepared.training.get(arm.trainPart)!.get(task)!.length} ${task}`);
    return `${counts.join(', ')} (${arm.trainPart})`;
  };
  const cell = (value: number | undefined): string => (value === undefined ? '' : value.toFixed(3));
  await output.table('scores', {
    title: `Scores on the ${prepared.records.length} papers of ${config.testPart}`,
    columns: ['task', 'by', 'model', 'trained on', ...Object.values(MEASURES)],
    rows: rows.map(({ name, task, scores }) => [
      TASK_NAMES[task],
      name,
      armOf(name)?.model ?? 'baseline',
      trained(name),
      ...Object.keys(MEASURES).map((measure) => cell(scores[measure])),
    ]),
    notes: [
      'ROUGE-L: F1 on characters. A generated label counts as the label nearest to it by ROUGE-L.',
      "Bpref as the benchmark computes it divides by the right keywords found, not by all there are: it ignores recall. F1 doesn't.",
    ],
  });
  await output.plot(
    'scores',
    charts.bars({
      title: 'Scores by task, beside what needs no model',
      y: 'score',
      bars: rows.flatMap(({ name, task, scores }) =>
        Object.entries(scores).map(([measure, value]) => ({
          category: `${TASK_NAMES[task]}: ${MEASURES[measure as keyof typeof MEASURES]}`,
          ...{ name, value },
        })),
      ),
    }),
  );
  await output.plot(
    'loss',
    charts.lines({
      title: 'Training loss',
      x: 'step',
      y: 'nats',
      series: arms.map(({ arm, losses }) => ({ name: arm.name, x: losses.map((_, step) => step), y: losses })),
    }),
  );
  await output.text('answers.jsonl', answersBeside(arms, prepared));
  const figures = (of: readonly Measured[]) =>
    of.flatMap(({ name, task, scores }) =>
      Object.entries(scores).map(([measure, value]) => [`${slugOf(name)}/${task}/${measure}`, value] as const),
    );
  return Object.fromEntries([
    ...figures(ofArms),
    ...figures(ofBaselines),
    ...arms.map(({ arm, losses }) => [`${arm.name}/loss`, losses.at(-1)!] as const),
  ]);
}

function slugOf(name: string): string {
  return name.replace(/\W+/g, '-');
}

/** A line a paper: the joined record, and what every arm answered to each task. */
function answersBeside(arms: readonly TrainedArm[], { records }: Prepared): string {
  const lines = records.map((record, row) => {
    const answered = arms.map(({ arm, answers }) => [
      arm.name,
      Object.fromEntries(arm.tasks.map((task) => [task, answers[task]![row]])),
    ]);
    return JSON.stringify({ ...record, answers: Object.fromEntries(answered) });
  });
  return `${lines.join('\n')}\n`;
}
