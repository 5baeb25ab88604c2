/** What `merak trainers` prints: the recipes, or one recipe's configuration with defaults, units and the paper's values. */
import { stringify } from 'yaml';
import { z } from 'zod';
import type { Trainer } from '../trainers/trainer.js';

export function describeTrainers(trainers: readonly Trainer[]): string[] {
  const width = Math.max(...trainers.map(({ name }) => name.length)) + 2;
  return trainers.map(({ name, description, paper }) => {
    const cited = paper === undefined ? '' : ` (${paper.id})`;
    return `${name.padEnd(width)}${description}${cited}`;
  });
}

export function describeTrainer({ name, description, paper, data, config }: Trainer): string[] {
  const rows = keysOf(config, '');
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  const table = rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const year = paper?.year === undefined ? '' : `, ${paper.year}`;
  return [
    `${name}: ${description}`,
    ...(paper === undefined ? [] : [`paper: ${paper.title} (${paper.id}${year})`]),
    ...(data === undefined ? [] : [`data: ${data.howToGet}`]),
    '',
    ...table,
    ...longDefaults(config),
  ];
}

const HEADINGS = ['key', 'default', 'unit', 'paper', 'meaning'];
/** Defaults of more characters stand below the table, so that it stays narrow. */
const MAX_DEFAULT = 32;
const BELOW = '(see below)';

/** As they would be written in a configuration. */
function longDefaults({ shape }: z.ZodObject): string[] {
  const long = Object.entries(shape).filter(([, field]) => shownDefault(field) === BELOW);
  const lines = long.flatMap(([key, field]) =>
    stringify({ [key]: defaultOf(field) })
      .trimEnd()
      .split('\n'),
  );
  return lines.length === 0 ? [] : ['', ...lines];
}

/** Rows of key, default, unit, the paper's value and description; objects inside give dotted keys, lists `[]`. */
function keysOf(schema: z.ZodObject, prefix: string): string[][] {
  const rows = Object.entries(schema.shape).flatMap(([key, field]) => {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    const { description = '', unit = '', paper = '' } = metaOf(field);
    const own = [path, shownDefault(field), String(unit), String(paper), String(description)];
    const inside = innerObject(field, path);
    return [own, ...(inside === undefined ? [] : keysOf(inside.schema, inside.path))];
  });
  return prefix === '' ? [HEADINGS, ...rows] : rows;
}

function metaOf(field: z.core.$ZodType): Readonly<Record<string, unknown>> {
  const own = z.globalRegistry.get(field as z.ZodType);
  if (own !== undefined) return own;
  const { def } = field._zod as { readonly def: object };
  return 'innerType' in def ? metaOf(def.innerType as z.core.$ZodType) : {};
}

function shownDefault(field: z.core.$ZodType): string {
  if (!isOptional(field)) return '(needed)';
  const value = defaultOf(field);
  if (value === undefined) return '';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > MAX_DEFAULT ? BELOW : text;
}

function isOptional(field: z.core.$ZodType): boolean {
  return z.object({ key: field as z.ZodType }).safeParse({}).success;
}

function defaultOf(field: z.core.$ZodType): unknown {
  return z.object({ key: field as z.ZodType }).safeParse({}).data?.key;
}

function innerObject(field: z.core.$ZodType, path: string): { schema: z.ZodObject; path: string } | undefined {
  if (field instanceof z.ZodObject) return { schema: field, path };
  const { def } = field._zod as { readonly def: object };
  if ('innerType' in def) return innerObject(def.innerType as z.core.$ZodType, path);
  if ('element' in def) return innerObject(def.element as z.core.$ZodType, `${path}[]`);
  return undefined;
}
