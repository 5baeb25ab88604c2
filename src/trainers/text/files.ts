/** tokenizer.json files. */
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MerakError } from '../../errors.js';
import { makeTokenizer, type TextTokenizer } from './tokenizer.js';

/**
 * Opens a tokenizer.json, or the folder of one (as Hugging Face has them, with tokenizer_config.json beside it).
 *
 * @throws MerakError trainer/data
 * @example
 * const tokenizer = await merak.text.loadTokenizer('models/xlm-roberta-base');
 * const { tokens, mask } = tokenizer.batch(['Hallo Welt', 'hello'], 32);
 */
export async function loadTokenizer(path: string): Promise<TextTokenizer> {
  const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
  const file = isFolder ? join(path, 'tokenizer.json') : path;
  const config = await readJson(join(dirname(file), 'tokenizer_config.json'), true);
  return makeTokenizer((await readJson(file, false))!, config);
}

/** Writes tokenizer.json; `loadTokenizer`, and Hugging Face's libraries, read it. */
export async function saveTokenizer(file: string, tokenizer: TextTokenizer): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(tokenizer.json, null, 1)}\n`);
}

async function readJson(file: string, mayBeAbsent: boolean): Promise<object | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if (mayBeAbsent) return undefined;
    throw new MerakError('trainer/data', 'a tokenizer cannot be read', {
      path: file,
      expected: 'tokenizer.json, or a folder with it',
      cause,
    });
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
    throw new Error('it holds no object');
  } catch (cause) {
    throw new MerakError('trainer/data', `a tokenizer's file is not JSON: ${(cause as Error).message}`, {
      path: file,
      cause,
    });
  }
}
