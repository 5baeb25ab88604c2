/** merak predict: a saved model answers the lines of a JSONL file, one JSON value a line. */
import { open } from 'node:fs/promises';
import { stdin, stdout } from 'node:process';
import { createInterface } from 'node:readline';
import { openSaved } from '../api/inference/served.js';
import { MerakError } from '../errors.js';

export interface PredictFlags {
  readonly input: string;
  readonly threads?: number | undefined;
}

/** Lines are answered as soon as a batch of them is there, in order; empty ones are passed over. */
export async function predict(folder: string, { input, threads }: PredictFlags): Promise<void> {
  const model = await openSaved(folder, { threads });
  try {
    let pending: { line: number; record: unknown }[] = [];
    const answer = async (): Promise<void> => {
      const records = pending.map(({ record }) => record);
      const first = pending[0]?.line ?? 1;
      pending = [];
      for (const one of await model.answer(records, first)) stdout.write(`${JSON.stringify(one)}\n`);
    };
    let line = 0;
    for await (const text of linesOf(input)) {
      line++;
      if (text.trim() === '') {
        // Messages count records from the first one's line: no gaps inside a batch.
        await answer();
        continue;
      }
      pending.push({ line, record: parse(text, input, line) });
      if (pending.length === model.batchSize) await answer();
    }
    await answer();
  } finally {
    model.close();
  }
}

async function* linesOf(input: string): AsyncGenerator<string> {
  if (input === '-') {
    yield* createInterface({ input: stdin, crlfDelay: Number.POSITIVE_INFINITY });
    return;
  }
  const file = await open(input).catch((cause: Error) => {
    throw new MerakError('config/invalid', `cannot read the input: ${cause.message}`, {
      path: `--input ${input}`,
      cause,
    });
  });
  try {
    yield* file.readLines();
  } finally {
    await file.close();
  }
}

function parse(text: string, input: string, line: number): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MerakError('config/invalid', `a line of the input is not JSON: ${(cause as Error).message}`, {
      path: `${input === '-' ? 'standard input' : input}:${line}`,
      received: text.slice(0, 80),
      hint: 'each line is one JSON value: "a text", { "text": "..." } or { "field": [...] }',
      cause,
    });
  }
}
