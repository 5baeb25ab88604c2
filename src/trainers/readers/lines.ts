/** Files of one item a line: plain lines, and JSON Lines. */
import type { z } from 'zod';
import { MerakError } from '../../errors.js';
import { readUtf8 } from './utf8.js';

/** The lines without their ends; a last empty one does not count. @throws MerakError trainer/data */
export async function lines(file: string): Promise<string[]> {
  const all = (await readUtf8(file)).split(/\r?\n/);
  return all.at(-1) === '' ? all.slice(0, -1) : all;
}

/**
 * One JSON value a line, checked against a schema; empty lines are skipped.
 *
 * @throws MerakError trainer/data, naming file, line and key
 * @example
 * const pairs = await merak.readers.jsonl('pairs.jsonl', z.object({ first: z.string(), second: z.string() }));
 */
export async function jsonl<Schema extends z.ZodType>(file: string, schema: Schema): Promise<z.output<Schema>[]> {
  return (await lines(file)).flatMap((text, index) => {
    if (text.trim() === '') return [];
    const path = `${file}:${index + 1}`;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new MerakError('trainer/data', `a line is not JSON: ${(cause as Error).message}`, { path, cause });
    }
    const result = schema.safeParse(value);
    if (result.success) return [result.data];
    const issue = result.error.issues[0]!;
    const key = issue.path.join('.');
    throw new MerakError('trainer/data', `'${key}': ${issue.message}`, {
      path: `${path}, column ${key === '' ? '(the whole line)' : key}`,
      received: text.slice(0, 80),
    });
  });
}
