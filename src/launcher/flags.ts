/** The command's flags: one per option of the schema, so that a new option is a new flag. */

import { type Command, Option } from 'commander';
import { distance } from 'fastest-levenshtein';
import type { z } from 'zod';
import { parseOptions, suggestion } from '../config/parse.js';
import { type OptionName, type OptionsInput, optionsSchema } from '../config/schema.js';
import { MerakError } from '../errors.js';

type FlagType = 'number' | 'string' | 'boolean';

const optionNames = Object.keys(optionsSchema.shape) as OptionName[];

/** 'microBatches' -> '--micro-batches'. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** One flag per key of a schema: Merak's options, unless another is given. */
export function addFlags(command: Command, schema: z.ZodObject = optionsSchema): Command {
  for (const [name, field] of Object.entries(schema.shape)) command.addOption(optionFor(name, field as z.ZodType));
  return command;
}

/**
 * `--profile` may stand without its folder. Commander would take the script for it, so the folder is filled in here, unless
 * what follows is one: neither a flag nor a script.
 */
export function withProfileFolder(argv: readonly string[]): string[] {
  const separator = argv.indexOf('--');
  const end = separator === -1 ? argv.length : separator;
  return argv.map((argument, index) => {
    if (argument !== '--profile' || index >= end) return argument;
    const next = index + 1 < end ? argv[index + 1]! : '-';
    return next.startsWith('-') || SCRIPT.test(next) ? `--profile=${DEFAULT_PROFILE_FOLDER}` : argument;
  });
}

const SCRIPT = /\.[cm]?[jt]sx?$/;
const DEFAULT_PROFILE_FOLDER = 'runs/profile';

/** The flags given, checked against the schema. Raises 'config/invalid'. */
export function givenFlags(values: Readonly<Record<string, unknown>>): OptionsInput {
  const given = Object.fromEntries(
    optionNames.filter((name) => values[name] !== undefined).map((name) => [name, values[name]]),
  );
  parseOptions(given, 'command line');
  return given;
}

/** An argument that stands where the script should and looks like a flag. */
export function unknownFlag(argument: string, command: Command, more = ''): MerakError {
  const flag = argument.split('=')[0]!;
  const known = command.options.map(({ long }) => long).filter((long) => long !== undefined && long !== null);
  return new MerakError('config/unknown-key', `unknown flag '${flag}'`, {
    path: 'command line',
    hint: suggestion(flag, known) + more,
  });
}

/** A script's own flags pass, but not what is one letter away from a flag of Merak: that is a slip. */
export function refuseMisspelt(args: readonly string[], command: Command): void {
  const known = command.options.map(({ long }) => long ?? '');
  const slip = args.find(
    (arg) => arg.startsWith('--') && known.some((flag) => distance(arg.split('=')[0]!, flag) === 1),
  );
  if (slip === undefined) return;
  throw unknownFlag(slip, command, '; flags of the script itself go behind --');
}

function optionFor(name: string, schema: z.ZodType): Option {
  const type = flagType(schema);
  const placeholder = type === 'boolean' ? '' : ` <${type === 'number' ? 'number' : 'value'}>`;
  const option = new Option(`${flagOf(name)}${placeholder}`, schema.description);
  if (type === 'number') option.argParser((value) => parseNumber(name, value));
  return option;
}

function parseNumber(name: string, value: string): number {
  const number = Number(value);
  if (value.trim() !== '' && Number.isFinite(number)) return number;
  throw new MerakError('config/invalid', `flag '${flagOf(name)}' wants a number`, {
    path: `command line: ${flagOf(name)}`,
    received: value,
  });
}

function flagType(schema: z.core.$ZodType): FlagType {
  const { def } = schema._zod;
  if ('innerType' in def) return flagType(def.innerType as z.core.$ZodType);
  if (def.type === 'number' || def.type === 'boolean') return def.type;
  return 'string';
}
