/** The benchmark read and checked, and a vocabulary of its characters. */
import { closest } from 'fastest-levenshtein';
import { MerakError, text } from '../../index.js';
import type { TrainerContext } from '../context.js';
import { type Arm, type CslConfig, TASKS, type Task } from './config.js';
import { fileOf, joinRecords, type LocatedExample, type PaperRecord, readTask, TARGET_FIELD } from './data.js';

/** Tasks whose target is one of a set. */
export const LABELLED = ['ctg', 'dcp'] as const;
export type LabelledTask = (typeof LABELLED)[number];

export interface Prepared {
  readonly tokenizer: text.TextTokenizer;
  /** By part, then task; those that an arm trains on. */
  readonly training: ReadonlyMap<string, ReadonlyMap<Task, readonly LocatedExample[]>>;
  readonly test: Readonly<Record<Task, readonly LocatedExample[]>>;
  readonly records: readonly PaperRecord[];
  /** In code point order, by task. */
  readonly labels: Readonly<Record<LabelledTask, readonly string[]>>;
}

export function isLabelled(task: Task): task is LabelledTask {
  return (LABELLED as readonly Task[]).includes(task);
}

/** All files a configuration reads. */
export function filesOf({ folder, testPart, arms }: CslConfig): string[] {
  const trained = arms.flatMap(({ tasks, trainPart }) => tasks.map((task) => fileOf(folder, task, trainPart)));
  return [...new Set([...trained, ...TASKS.map((task) => fileOf(folder, task, testPart))])];
}

/** @throws MerakError trainer/data naming file, line and column; config/invalid: an arm that cannot be */
export async function prepare({ config, data, log }: TrainerContext<CslConfig>): Promise<Prepared> {
  const { folder, testPart, arms, vocabularySize } = config;
  for (const [at, one] of arms.entries()) checkArm(one, at, arms);
  const read = (task: Task, part: string) => readTask(data.path(fileOf(folder, task, part)), task);
  const training = new Map<string, Map<Task, LocatedExample[]>>();
  for (const { tasks, trainPart } of arms) {
    const part = training.get(trainPart) ?? new Map<Task, LocatedExample[]>();
    training.set(trainPart, part);
    for (const task of tasks) if (!part.has(task)) part.set(task, await read(task, trainPart));
  }
  const test = Object.fromEntries(
    await Promise.all(TASKS.map(async (task) => [task, await read(task, testPart)])),
  ) as Record<Task, LocatedExample[]>;
  const testFiles = Object.fromEntries(TASKS.map((task) => [task, data.path(fileOf(folder, task, testPart))]));
  const records = joinRecords(test, testFiles as Record<Task, string>);
  const labels = { ctg: labelsOf('ctg'), dcp: labelsOf('dcp') };
  const all = [...training.values()].flatMap((part) => [...part.values()].flat());
  const tokenizer = text.trainTokenizer(
    all.flatMap(({ prompt, source, target }) => [`${prompt} ${source}`, target]),
    { kind: 'character', vocabularySize },
  );
  log.info(`${all.length} training rows, ${records.length} test papers; ${tokenizer.vocabularySize} characters`);
  return { tokenizer, training, test, records, labels };

  /** Of the training rows. A test label beyond them could never be given. */
  function labelsOf(task: LabelledTask): string[] {
    const rows = [...training.values()].flatMap((part) => part.get(task) ?? []);
    const known = [...new Set(rows.map(({ target }) => target))].sort();
    if (rows.length === 0) return known;
    for (const { target, line } of test[task]) {
      if (known.includes(target)) continue;
      throw new MerakError('trainer/data', 'a test row has a label that no training row has', {
        path: `${data.path(fileOf(folder, task, testPart))}:${line}, column ${TARGET_FIELD} (label)`,
        expected: known.join(', '),
        received: target,
        hint: `did you mean '${closest(target, known)}'?`,
      });
    }
    return known;
  }
}

function checkArm({ name, model, tasks }: Arm, at: number, arms: readonly Arm[]): void {
  const unlabelled = tasks.filter((task) => !isLabelled(task));
  if (model === 'classifier' && unlabelled.length > 0) {
    throw new MerakError('config/invalid', 'a classifier has tasks without labels', {
      path: `arms.${at}.tasks`,
      expected: LABELLED.join(', '),
      received: tasks.join(', '),
      hint: `give ${unlabelled.join(' and ')} to a text-to-text model`,
    });
  }
  if (arms.findIndex((one) => one.name === name) !== at || new Set(tasks).size !== tasks.length) {
    throw new MerakError('config/invalid', 'arms differ in name, and name each task once', {
      path: `arms.${at}`,
      received: `${name}: ${tasks.join(', ')}`,
    });
  }
}
