/** The `merak` command. */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import type { LaunchContext, LaunchMode } from '../config/launch.js';
import { MerakError } from '../errors.js';
import { packageFile } from '../packageFiles.js';
import { complain } from './complain.js';
import { addFlags, givenFlags, refuseMisspelt, unknownFlag, withProfileFolder } from './flags.js';
import type { ModelRequest } from './planModel.js';
import type { PlanFiles } from './planResult.js';
import type { ProfileOptions } from './profile.js';
import { runScript } from './runScript.js';
import { simulateCommand, simulateSchema } from './simulate.js';
import type { TrainSettings } from './train.js';

const DEFAULT_VERIFY_STEPS = 20;

/** Runs the command line `argv` (as process.argv) and resolves with the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    await merakCommand().parseAsync(withProfileFolder(argv));
    return Number(process.exitCode ?? 0);
  } catch (thrown) {
    complain(thrown);
    return 1;
  }
}

export function merakCommand(): Command {
  const program = new Command('merak')
    .description('distributed training of TensorFlow.js models on Node.js')
    .version(version())
    .showHelpAfterError('(merak --help shows the commands)');
  program.addCommand(scriptCommand('launch', 'run a script, training on local workers'));
  program.addCommand(planCommand());
  program.addCommand(
    scriptCommand('verify', 'train both in one process and in parallel, and compare').option(
      '--steps <number>',
      'steps to compare',
      countOfSteps,
      DEFAULT_VERIFY_STEPS,
    ),
  );
  program
    .command('trainers')
    .description('list the training recipes, or the configuration of one')
    .argument('[name]', 'recipe')
    .option('--plugin <file>', 'a recipe of your own')
    .action(async (name: string | undefined, { plugin }: { plugin?: string }) =>
      (await import('./train.js')).listTrainers(name, plugin),
    );
  program.addCommand(
    addFlags(
      new Command('train')
        .description('run a training recipe')
        .argument('<name>', 'recipe')
        .option('--config <file>', 'configuration of the recipe (YAML); `merak trainers <name>` lists its keys')
        .option('--set <key=value...>', 'keys of the configuration, over those of the file')
        .option('--data <folder>', 'folder with the data (default: the working directory)')
        .option('--out <folder>', 'folder for everything written (default: runs/<name>)')
        .option('--resume', 'go on with the run the output folder holds')
        .option('--sample', 'train on a small generated data set')
        .option('--plugin <file>', 'a recipe of your own: the default export of a module'),
    ).action(async (name: string, values: Record<string, unknown>) => {
      const [{ train }, { guardProcess }] = await Promise.all([import('./train.js'), import('./guard.js')]);
      guardProcess();
      await train(name, values as TrainSettings, givenFlags(values));
    }),
  );
  program
    .command('predict')
    .description('answer records with a saved model: JSON lines in, JSON lines out')
    .argument('<folder>', 'a model saved for prediction (model.json, model.safetensors)')
    .requiredOption('--input <file>', "file of JSON lines, or '-' for standard input")
    .option('--threads <number>', 'engine threads (default: all)', countOfThreads)
    .action(async (folder: string, options: { input: string; threads?: number }) =>
      (await import('./predict.js')).predict(folder, options),
    );
  program
    .command('doctor')
    .description('say what this machine has, what is missing and how to get it')
    .option('--report <file>', 'write the findings to this JSON file')
    .action(async ({ report }: { report?: string }) => {
      const { doctor } = await import('./doctor.js');
      process.exitCode = await doctor(report);
    });
  program.addCommand(
    addFlags(new Command('simulate').description('draw and time a schedule from unit costs'), simulateSchema).action(
      simulateCommand,
    ),
  );
  program
    .command('profile')
    .description('measure this machine for the cost model')
    .option('--threads <number>', 'threads of each rank', countOfThreads, 1)
    .option('--report <file>', 'write the profile to this JSON file (default: in the cache of the user)')
    .addOption(
      new Option(
        '--device <kind>',
        'measure the processor (native), the cards (cuda), or both where there are any (auto)',
      )
        .choices(['auto', 'native', 'cuda'])
        .default('auto'),
    )
    .action(async (options: ProfileOptions) => {
      const { profile } = await import('./profile.js');
      process.exitCode = await profile(options);
    });
  return program;
}

/** With a script as `launch` takes it; or with `--model` instead of one. */
function planCommand(): Command {
  return scriptCommand('plan', 'print the plan a script or a named model would train by, without training')
    .option('--model <name>', 'plan a named model instead of a script: gpt:1.5b, 2.5b, 8.3b, 20b or 175b')
    .option(
      '--cluster <spec>',
      'plan for another machine: HOSTSxDEVICES:DEVICE:[HOSTLINK+]NETWORK, e.g. 16x4:rtx3090:ib100, or a YAML or JSON file',
    )
    .option('--global-batch <number>', 'samples per step, with --model', countFor('--global-batch'))
    .option('--sequence <number>', 'tokens per sample, with --model', countFor('--sequence'))
    .option('--trace <file>', 'write the simulated step as a Chrome trace (Perfetto)')
    .option('--svg <file>', 'draw the simulated step as a Gantt chart');
}

async function planModelCommand(values: Readonly<Record<string, unknown>>): Promise<void> {
  const [{ planNamedModel }, { showPlan }] = await Promise.all([import('./planModel.js'), import('./planResult.js')]);
  const { model, cluster, globalBatch, sequence } = values as unknown as Omit<ModelRequest, 'options'>;
  const outcome = planNamedModel({ model, cluster, globalBatch, sequence, options: givenFlags(values) });
  await showPlan(outcome, values as PlanFiles);
}

/** Merak's flags may stand before or behind the script; whatever else follows it, and all after `--`, is the script's. */
function scriptCommand(mode: LaunchMode, description: string): Command {
  const command = new Command(mode)
    .description(description)
    .usage('[flags] <script> [script arguments]')
    .argument(mode === 'plan' ? '[script]' : '<script>', 'TypeScript or JavaScript file')
    .argument('[args...]', 'arguments of the script')
    .allowUnknownOption()
    .action(async (script: string | undefined, args: string[], values: Record<string, unknown>) => {
      if (script?.startsWith('-')) throw unknownFlag(script, command);
      if (script === undefined && values.model !== undefined) return planModelCommand(values);
      checkPlanFlags(script, values);
      const separator = args.indexOf('--');
      refuseMisspelt(beforeSeparator(args, command), command);
      const scriptArgs = separator === -1 ? args : args.toSpliced(separator, 1);
      const verifySteps = mode === 'verify' ? { verifySteps: Number(values.steps) } : {};
      const planning = mode === 'plan' ? { planning: planningOf(values) } : {};
      await runScript(script, scriptArgs, { mode, flags: givenFlags(values), ...verifySteps, ...planning });
    });
  return addFlags(command);
}

function planningOf(values: Readonly<Record<string, unknown>>): LaunchContext['planning'] {
  const { cluster, trace, svg } = values as PlanFiles & { readonly cluster?: string };
  // The script's own report has the plan.
  return { cluster, show: async (outcome) => (await import('./planResult.js')).showPlan(outcome, { trace, svg }) };
}

function checkPlanFlags(
  script: string | undefined,
  { model, globalBatch, sequence }: Readonly<Record<string, unknown>>,
): asserts script is string {
  const invalid = (path: string, message: string, hint: string) =>
    new MerakError('config/invalid', message, { path: `command line: ${path}`, hint });
  if (script === undefined) throw invalid('script', 'there is nothing to plan', 'name a script, or --model gpt:1.5b');
  if (model !== undefined) throw invalid('--model', 'both a script and a model are named', 'leave one of them out');
  for (const [flag, value] of Object.entries({ '--global-batch': globalBatch, '--sequence': sequence })) {
    if (value !== undefined)
      throw invalid(flag, `a script brings its own data; ${flag} is for --model`, 'leave it out');
  }
}

/** The arguments in front of `--`. Commander keeps that sign only sometimes, so what was typed tells how much stood behind. */
function beforeSeparator(args: readonly string[], command: Command): readonly string[] {
  const typed = Reflect.get(command.parent ?? command, 'rawArgs') as readonly string[];
  const at = typed.indexOf('--');
  return at === -1
    ? args
    : args.slice(0, Math.max(0, args.length - (typed.length - at - 1))).filter((arg) => arg !== '--');
}

function countFor(flag: string): (value: string) => number {
  return (value) => countOf(flag, value);
}

function countOfSteps(value: string): number {
  return countOf('--steps', value);
}

function countOfThreads(value: string): number {
  return countOf('--threads', value);
}

function countOf(flag: string, value: string): number {
  const count = Number(value);
  if (Number.isInteger(count) && count >= 1) return count;
  throw new MerakError('config/invalid', `flag '${flag}' wants a whole number of at least 1`, {
    path: `command line: ${flag}`,
    received: value,
  });
}

function version(): string {
  const { version: found }: { version: string } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8'));
  return found;
}
