/** `merak trainers` and `merak train <name>`: recipes that ship with Merak. */
import { z } from 'zod';
import { setLaunchContext } from '../config/launch.js';
import { parseWith } from '../config/parse.js';
import type { OptionsInput } from '../config/schema.js';
import { MerakError } from '../errors.js';
import { TRAINERS, trainerByName } from '../trainers/registry.js';

/** Prints the recipes, or one recipe's configuration. */
export function listTrainers(name: string | undefined): void {
  const lines =
    name === undefined
      ? TRAINERS.map((trainer) => `${trainer.name.padEnd(20)} ${trainer.description}`)
      : describe(trainerByName(name).config);
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Runs a recipe with `key=value` settings under the given flags and prints its figures. */
export async function train(name: string, settings: readonly string[], flags: OptionsInput): Promise<void> {
  const trainer = trainerByName(name);
  const config = parseWith(trainer.config, Object.fromEntries(settings.map(keyAndValue)), `trainer ${name}`);
  setLaunchContext({ mode: 'launch', flags });
  const result = await trainer.run(config);
  for (const [key, value] of Object.entries(result)) process.stdout.write(`${key.padEnd(20)} ${value}\n`);
}

function keyAndValue(setting: string): [string, unknown] {
  const at = setting.indexOf('=');
  if (at < 1) {
    throw new MerakError('config/invalid', `'${setting}' sets nothing`, { path: '--set', expected: 'key=value' });
  }
  const text = setting.slice(at + 1);
  const number = Number(text);
  const value =
    text === 'true' || text === 'false' ? text === 'true' : text !== '' && Number.isFinite(number) ? number : text;
  return [setting.slice(0, at), value];
}

function describe(config: z.ZodObject): string[] {
  return Object.entries(config.shape).map(([key, schema]) => {
    const { description = '' } = schema as z.ZodType;
    const { data } = z.object({ [key]: schema as z.ZodType }).safeParse({});
    const value = data?.[key];
    return `${key.padEnd(20)} ${String(value ?? '').padEnd(8)} ${description}`;
  });
}
