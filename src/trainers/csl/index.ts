/** `merak train csl`: the four tasks of the Chinese Scientific Literature benchmark. */
import { saveVariables } from '../../index.js';
import { defineTrainer } from '../trainer.js';
import { config } from './config.js';
import { filesOf, prepare } from './prepare.js';
import { report } from './report.js';
import { samplePapers } from './sample.js';
import { makeModel, type TrainedArm, trainArm } from './train.js';

export const csl = defineTrainer({
  name: 'csl',
  paper: { title: 'CSL: A Large-scale Chinese Scientific Literature Dataset', year: 2022, id: 'arXiv 2209.05034' },
  description: 'Chinese papers: category, discipline, keywords and title, single- and multi-task',
  config,
  data: {
    howToGet:
      'the CSL benchmark (https://github.com/ydli-ai/CSL, Apache-2.0): benchmark/{cls_ctg,cls_dcp,kg,ts}/{train,dev,test}.tsv as ' +
      'csl-benchmark/{cls_ctg,cls_dcp,kg,ts}-{train,dev,test}.tsv',
    files: filesOf,
    sample: samplePapers,
  },
  prepare,

  async run(context, prepared) {
    const trained: TrainedArm[] = [];
    for (const arm of context.config.arms) {
      const model = makeModel(context.config, arm, prepared, context.seed);
      trained.push(await trainArm(context, prepared, arm, model));
      const weights = Object.fromEntries(model.variables.map((variable) => [variable.name, variable]));
      await saveVariables(await context.output.path(`${arm.name}.safetensors`), weights);
      model.dispose();
    }
    return trained;
  },

  evaluate: report,

  async export({ output }, _, { tokenizer }) {
    await output.json('tokenizer.json', tokenizer.json);
  },
});
