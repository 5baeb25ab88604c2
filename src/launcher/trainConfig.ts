/** A recipe's configuration from a YAML file and `--set key=value`, with errors that name file, line and key path. */
import { readFile } from 'node:fs/promises';
import { LineCounter, parseDocument, parse as parseYaml } from 'yaml';
import type { z } from 'zod';
import { parseWith } from '../config/parse.js';
import { MerakError } from '../errors.js';

interface Setting {
  readonly path: readonly (string | number)[];
  readonly value: unknown;
  readonly text: string;
}

/**
 * @param file YAML (or JSON); undefined when everything is set by hand or left to defaults
 * @param settings 'key=value' or 'a.0.b=value', read as YAML; they win over the file
 * @throws MerakError config/unknown-key, config/invalid
 */
export async function readTrainerConfig<S extends z.ZodObject>(
  schema: S,
  file: string | undefined,
  settings: readonly string[],
): Promise<z.output<S>> {
  const fromFile = file === undefined ? undefined : await readYaml(file);
  const parsed = settings.map(readSetting);
  let record: unknown = fromFile?.record ?? {};
  for (const setting of parsed) record = withValue(record, setting.path, setting);
  return parseWith(schema, record, (path) => {
    const set = parsed.findLast((one) =>
      one.path.every((key, i) => i >= path.length || String(key) === String(path[i])),
    );
    if (set !== undefined) return `--set ${set.text}`;
    return fromFile?.place(path) ?? 'the configuration';
  });
}

/** The parsed file, and where in it a key path stands. */
async function readYaml(file: string): Promise<{ record: unknown; place(path: readonly PropertyKey[]): string }> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new MerakError('config/invalid', 'the configuration cannot be read', { path: `--config ${file}`, cause });
  });
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const [error] = document.errors;
  if (error !== undefined) {
    throw new MerakError('config/invalid', `the configuration is not YAML: ${error.message.split('\n')[0]}`, {
      path: at(error.pos[0]),
    });
  }
  return {
    record: document.toJS() ?? {},
    place(path) {
      // A key that is missing is placed at the object it is missing from.
      for (let length = path.length; length > 0; length--) {
        const node: unknown = document.getIn(path.slice(0, length), true);
        const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
        if (Array.isArray(range)) return at(range[0] as number);
      }
      return file;
    },
  };
}

function readSetting(setting: string): Setting {
  const at = setting.indexOf('=');
  if (at < 1) {
    throw new MerakError('config/invalid', `'${setting}' sets nothing`, { path: '--set', expected: 'key=value' });
  }
  const path = setting
    .slice(0, at)
    .split('.')
    .map((key) => (/^\d+$/.test(key) ? Number(key) : key));
  const text = setting.slice(at + 1);
  try {
    return { path, text: setting, value: text === '' ? '' : parseYaml(text) };
  } catch {
    return { path, text: setting, value: text };
  }
}

/** `record` with the value at `path`; objects and lists on the way are copied, or made. */
function withValue(record: unknown, path: readonly (string | number)[], { value, text }: Setting): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (record !== undefined && record !== null && typeof record !== 'object') {
    throw new MerakError('config/invalid', `'${key}' cannot be set inside a plain value`, {
      path: `--set ${text}`,
      received: JSON.stringify(record),
    });
  }
  const inner = (record as Readonly<Record<string | number, unknown>> | undefined)?.[key];
  const replaced = withValue(inner, rest, { path: rest, value, text });
  if (typeof key === 'number' && (record === undefined || Array.isArray(record))) {
    const list = [...((record as readonly unknown[] | undefined) ?? [])];
    list[key] = replaced;
    return list;
  }
  return { ...(record as object | undefined), [key]: replaced };
}
