/** `merak train distill`: multi-stage distillation of a multilingual sentence encoder into a small one. */
import * as tf from '@tensorflow/tfjs';
import { charts, metrics, saveVariables } from '../../index.js';
import { defineTrainer } from '../trainer.js';
import { STSB_SOURCE, stsbFile } from '../words/parallelText.js';
import { chainsOf } from './chains.js';
import { config } from './config.js';
import { type Correlations, measure, pairCosines, summarise } from './evaluate.js';
import { makeAssistant, makeStudent, type SentenceEncoder } from './model.js';
import { prepare } from './prepare.js';
import { sampleData } from './sample.js';
import { trainStage } from './train.js';

interface Measured {
  readonly chain: string;
  /** The stages so far. */
  readonly stages: string;
  readonly correlations: Correlations;
  readonly losses: readonly number[];
}

export const distill = defineTrainer({
  name: 'distill',
  paper: {
    title: 'Multi-stage Distillation Framework for Cross-Lingual Semantic Similarity Matching',
    year: 2022,
    id: 'arXiv 2209.05869',
  },
  description: 'assistant, bottleneck embedding, recurrent blocks, multilingual contrastive stage, as one chain',
  config,
  data: {
    howToGet: STSB_SOURCE,
    files: ({ languages, trainParts, teacherCorpus }) => [
      ...['en', ...languages].flatMap((language) => [...trainParts, 'test'].map((part) => stsbFile(language, part))),
      ...teacherCorpus,
    ],
    sample: sampleData,
  },
  prepare,

  async run(context, { pairs, vocabulary, tests, table }) {
    const { config: options, seed } = context;
    const [first, ...studentStages] = options.stages;
    const measured: Measured[] = [];
    const record = async (chain: string, stages: string, model: SentenceEncoder, losses: readonly number[]) => {
      const name = `measure-${chain}-${stages.split('+').length}`;
      // Chains that begin alike are alike so far.
      if (measured.some((other) => other.stages === stages)) return;
      const correlations = await context.stage(name, () => measure(model, vocabulary, tests));
      context.log.info({ chain, stages, ...correlations }, `measured ${stages}`);
      measured.push({ chain, stages, correlations, losses });
    };
    const assistant = makeAssistant(options, vocabulary.words.length, table, seed);
    const losses = await trainStage(context, pairs, 'assistant', first!, assistant, assistant);
    await record('assistant', 'assistant', assistant, losses);
    const students: SentenceEncoder[] = [];
    for (const chain of chainsOf(studentStages, options.ablations)) {
      const student = makeStudent(options, assistant.encoder, vocabulary, seed + 1);
      students.push(student);
      for (const [i, stage] of chain.stages.entries()) {
        const name = `${chain.name}-${i}`.replaceAll('+', '.');
        const stageLosses = await trainStage(context, pairs, name, stage, student, assistant);
        const stages = chain.stages.slice(0, i + 1).map(({ kind }) => kind);
        await record(chain.name.replaceAll('+', '.'), stages.join('+'), student, stageLosses);
      }
    }
    return { assistant, students, measured };
  },

  async evaluate({ output, config: options }, { assistant, students, measured }, { tests, teacherTest }) {
    const student = students[0] ?? assistant;
    const [english] = tests.values();
    const shape: [number, number] = [english!.scores.length, options.hiddenSize];
    const [a, b] = [teacherTest.first, teacherTest.second].map((values) => tf.tensor2d(values, shape));
    const teacher = metrics.spearman(pairCosines(a!, b!), english!.scores);
    tf.dispose([a!, b!]);
    const pairs = Object.keys(measured[0]!.correlations);
    const percent = (value: number): string => (Number.isNaN(value) ? '-' : (100 * value).toFixed(1));
    const total = (model: SentenceEncoder): number => model.encoder.variables.reduce((sum, { size }) => sum + size, 0);
    const ratio = total(student) / total(assistant);
    const done = measured.map((one) => ({ ...one, summary: summarise(one.correlations) }));
    await output.table('spearman', {
      title: 'Spearman x 100 by pair of languages',
      columns: ['model', 'parameters', ...pairs, 'mean xx-xx', 'mean en-xx', 'mean xx-yy'],
      rows: [
        ['teacher', '-', percent(teacher), ...pairs.slice(1).map(() => '-'), '-', '-', '-'],
        ...done.map(({ stages, correlations, summary }, i) => [
          stages,
          total(i === 0 ? assistant : student),
          ...pairs.map((pair) => percent(correlations[pair]!)),
          ...[summary.within, summary.cross, summary.others].map(percent),
        ]),
      ],
      notes: [
        'Each row is a model after the stages named; the first chain is the paper’s, the others leave stages out.',
      ],
    });
    const sizes = [assistant, student].map(({ encoder: { parts, variables } }) => {
      const sum = (list: readonly tf.Variable[]): number => list.reduce((count, { size }) => count + size, 0);
      const words = sum([parts.tokenTable, ...(parts.bottleneck === null ? [] : [parts.bottleneck])]);
      const blocks = sum(parts.blocks.flatMap((block) => Object.values(block).flatMap((part) => Object.values(part))));
      return { words, blocks, rest: sum(variables) - words - blocks, all: sum(variables) };
    });
    await output.table('parameters', {
      title: 'Parameters by part',
      columns: ['part', 'assistant', 'student', 'student / assistant'],
      rows: (['words', 'blocks', 'rest', 'all'] as const).map((part) => [
        part,
        sizes[0]![part],
        sizes[1]![part],
        (sizes[1]![part] / sizes[0]![part]).toFixed(3),
      ]),
    });
    await output.plot(
      'spearman',
      charts.bars({
        title: 'Spearman x 100 after the stages named',
        y: 'Spearman x 100',
        bars: done.flatMap(({ stages, summary }) =>
          [
            ['en-en', summary.english],
            ['xx-xx', summary.within],
            ['en-xx', summary.cross],
          ].map(([name, value]) => ({ category: stages, name: String(name), value: 100 * Number(value) })),
        ),
      }),
    );
    const whole = done.filter(({ chain }) => chain === 'assistant' || chain === done[1]?.chain);
    await output.plot(
      'loss',
      charts.lines({
        title: 'Training loss of the chain, by stage',
        x: 'step of the stage',
        y: 'loss',
        logY: true,
        series: whole.map(({ stages, losses }) => ({
          name: stages.split('+').at(-1)!,
          x: losses.map((_, step) => step),
          y: losses,
        })),
      }),
    );
    const last = whole.at(-1)!;
    return {
      teacher,
      assistantEnglish: done[0]!.summary.english,
      assistantWithin: done[0]!.summary.within,
      assistantCross: done[0]!.summary.cross,
      studentEnglish: last.summary.english,
      studentWithin: last.summary.within,
      studentCross: last.summary.cross,
      parameterRatio: ratio,
      compression: 1 / ratio,
      assistantLoss: done[0]!.losses.at(-1)!,
      studentLoss: last.losses.at(-1)!,
    };
  },

  async export({ output }, { assistant, students }, { vocabulary, table }) {
    const named = ({ encoder }: SentenceEncoder) =>
      Object.fromEntries(encoder.variables.map((variable) => [variable.name, variable]));
    await saveVariables(await output.path('assistant.safetensors'), named(assistant));
    if (students[0] !== undefined) await saveVariables(await output.path('student.safetensors'), named(students[0]));
    await output.json('vocabulary.json', vocabulary.words);
    for (const { encoder } of [assistant, ...students]) encoder.dispose();
    table?.dispose();
  },
});
