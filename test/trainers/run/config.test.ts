/** Configurations from YAML and --set: values, precedence, and errors that say where. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { describeTrainer } from '../../../src/launcher/describeTrainer.js';
import { readTrainerConfig } from '../../../src/launcher/trainConfig.js';
import { TRAINERS } from '../../../src/trainers/registry.js';

const stage = z.strictObject({
  kind: z.enum(['assistant', 'contrastive']),
  epochs: z.number().int().min(1).default(2).meta({ description: 'passes', unit: 'epochs', paper: '20' }),
});
const schema = z.strictObject({
  rate: z.number().positive().default(0.1).meta({ description: 'step size' }),
  targets: z.strictObject({ push: z.boolean().default(true) }).default({ push: true }),
  stages: z.array(stage).default([]),
  label: z.string().optional(),
});

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-config-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function yaml(text: string): Promise<string> {
  const file = join(folder, 'c.yaml');
  await writeFile(file, text);
  return file;
}

it('fills defaults, reads the file, and lets --set win', async () => {
  expect(await readTrainerConfig(schema, undefined, [])).toEqual({ rate: 0.1, targets: { push: true }, stages: [] });
  const file = await yaml('rate: 0.5\nstages:\n  - kind: assistant\n    epochs: 7\n  - kind: contrastive\n');
  const config = await readTrainerConfig(schema, file, [
    'stages.1.epochs=3',
    'targets.push=false',
    'label=a=b',
    'rate=2e-1',
  ]);
  expect(config).toEqual({
    rate: 0.2,
    targets: { push: false },
    stages: [
      { kind: 'assistant', epochs: 7 },
      { kind: 'contrastive', epochs: 3 },
    ],
    label: 'a=b',
  });
  expect(await readTrainerConfig(schema, undefined, ['stages=[{kind: assistant}]'])).toMatchObject({
    stages: [{ kind: 'assistant', epochs: 2 }],
  });
});

describe('says where and what was meant', () => {
  it.each([
    ['an unknown key', 'rate: 1\nratte: 2\n', [], 'config/unknown-key', /c\.yaml:2:8: ratte$/, /'rate'/],
    [
      'an unknown key inside',
      'targets:\n  pusch: true\n',
      [],
      'config/unknown-key',
      /c\.yaml:2:10: targets\.pusch$/,
      /'push'/,
    ],
    [
      'one in a list',
      'stages:\n  - kind: assistant\n    epoch: 2\n',
      [],
      'config/unknown-key',
      /c\.yaml:3:12: /,
      /'epochs'/,
    ],
    ['a wrong value', 'rate: fast\n', [], 'config/invalid', /c\.yaml:1:7: rate$/, undefined],
    [
      'a missing key, at its object',
      'stages:\n  - epochs: 2\n',
      [],
      'config/invalid',
      /c\.yaml:2:5: stages\.0\.kind$/,
      undefined,
    ],
    ['broken YAML', 'rate: [1\n', [], 'config/invalid', /c\.yaml:\d+:\d+$/, undefined],
    [
      '--set of an unknown key',
      '',
      ['targets.pull=true'],
      'config/unknown-key',
      /--set targets\.pull=true: targets\.pull$/,
      /push/,
    ],
    ['--set over the file', 'rate: 1\n', ['rate=slow'], 'config/invalid', /--set rate=slow: rate$/, undefined],
    ['--set into a plain value', 'rate: 1\n', ['rate.a=1'], 'config/invalid', /--set rate\.a=1$/, undefined],
    ['--set without =', '', ['rate'], 'config/invalid', /--set/, undefined],
  ] as const)('%s', async (_, text, settings, code, path, hint) => {
    const refused = readTrainerConfig(schema, await yaml(text), settings);
    await expect(refused).rejects.toMatchObject({ code, path: expect.stringMatching(path) });
    if (hint !== undefined) await expect(refused).rejects.toMatchObject({ hint: expect.stringMatching(hint) });
  });

  it('a file that is not there', async () => {
    await expect(readTrainerConfig(schema, join(folder, 'no.yaml'), [])).rejects.toMatchObject({
      code: 'config/invalid',
    });
  });
});

const described = (config: z.ZodObject): string[] =>
  describeTrainer({
    name: 'x',
    description: 'y',
    paper: { title: 'T', id: 'arXiv 1', year: 2022 },
    config,
    prepare: () => undefined,
    run: async () => undefined,
    evaluate: () => ({}),
  });

it('describes keys with defaults, units and the paper', () => {
  const lines = described(schema);
  expect(lines[1]).toBe('paper: T (arXiv 1, 2022)');
  expect(lines.find((line) => line.startsWith('stages[].epochs'))).toMatch(
    /^stages\[\]\.epochs +2 +epochs +20 +passes$/,
  );
  expect(lines.find((line) => line.startsWith('stages[].kind'))).toContain('(needed)');
  for (const trainer of TRAINERS) {
    for (const key of Object.keys(trainer.config.shape)) expect(describeTrainer(trainer).join('\n')).toContain(key);
  }
});

it('shows a long default below the table, as a configuration has it', async () => {
  const stages = Array.from({ length: 3 }, (_, i) => ({ kind: i === 0 ? 'assistant' : 'contrastive', epochs: i + 1 }));
  const config = z.strictObject({ stages: z.array(stage).default(stages as z.output<typeof stage>[]) });
  const lines = described(config);
  expect(lines.find((line) => line.startsWith('stages '))).toMatch(/^stages +\(see below\)/);
  const below = lines.slice(lines.lastIndexOf(''));
  expect(await readTrainerConfig(config, await yaml(below.join('\n')), [])).toEqual({ stages });
});
