/** `merak train mpts`: similarity of texts from several perspectives; one similarity, bi-encoder, cross-encoder. */
import * as tf from '@tensorflow/tfjs';
import { saveVariables } from '../../index.js';
import { defineTrainer } from '../trainer.js';
import { config } from './config.js';
import { prepare } from './prepare.js';
import { report } from './report.js';
import { samplePairs } from './sample.js';
import { makeMatcher, type Trained, trainMatcher } from './train.js';

export const mpts = defineTrainer({
  name: 'mpts',
  paper: { title: 'Semantic Matching from Different Perspectives', id: 'https://github.com/autoliuweijie/MPTS' },
  description: 'similarity from several perspectives: one similarity, a map each, cross-encoder',
  config,
  data: {
    howToGet:
      'MPTS (https://github.com/autoliuweijie/MPTS, MIT): train.tsv, dev.tsv and test.tsv as mpts/train.tsv, ...; without ' +
      'train.tsv: --set train=mpts/test.tsv test=mpts/dev.tsv, which share 4 of some 5,000 texts',
    files: ({ train, test }) => [train, test],
    sample: samplePairs,
  },
  prepare,

  async run(context, prepared) {
    const runs: Trained[] = [];
    for (const mode of context.config.modes) {
      for (let seed = context.seed; seed < context.seed + context.config.numSeeds; seed++) {
        const model = await makeMatcher(context.config, prepared, mode, seed);
        runs.push(await trainMatcher(context, prepared, model, mode, seed));
        const weights = Object.fromEntries(model.variables.map((variable) => [variable.name, variable]));
        if (seed === context.seed) await saveVariables(await context.output.path(`${mode}.safetensors`), weights);
        model.dispose();
      }
    }
    if (prepared.table !== undefined) tf.dispose(prepared.table);
    return runs;
  },

  evaluate: (context, runs, { train, held, test }) =>
    report(context, runs, {
      train: train.first.length,
      held: held?.first.length ?? 0,
      test: test.first.length,
    }),
});
