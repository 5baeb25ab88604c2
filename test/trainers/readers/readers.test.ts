/** Data files: values come through as they were written, and what is wrong is named with file, line and column. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { readers } from '../../../src/index.js';

let folder: string;
let numFiles = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-readers-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(content: string | Uint8Array): Promise<string> {
  const path = join(folder, String(numFiles++));
  await writeFile(path, content);
  return path;
}

const columns = ['first', 'second', 'score'];

it('reads CSV with quotes, a byte order mark and records over several lines', async () => {
  const path = await file('\uFEFFa,"b, ""c""",1.5\r\n"two\nlines",ü,5\r\nx,y,zero\r\n');
  const rows = await readers.csv(path, { columns, header: false });
  expect(rows.map((row) => [row.line, row.text('first'), row.text('second')])).toEqual([
    [1, 'a', 'b, "c"'],
    [2, 'two\nlines', 'ü'],
    [4, 'x', 'y'],
  ]);
  expect(rows[1]!.number('score', { max: 5 })).toBe(5);
  expect(() => rows[2]!.number('score')).toThrow(`${path}:4, column 3 (score)`);
});

it('reads TSV whose quotes are text, by its header, in any order', async () => {
  const path = await file('score\textra\tsecond\tfirst\n2\t-\tsay "hi\t"\n');
  const [row] = await readers.tsv(path, { columns, header: true });
  expect([row!.text('first'), row!.text('second'), row!.number('score'), row!.line]).toEqual(['"', 'say "hi', 2, 2]);
});

it('gives back any fields', async () => {
  const field = fc.string({ unit: 'grapheme' }).filter((text) => !/[\r\uFEFF]/.test(text));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(field, field, field), { minLength: 1 }), async (records) => {
      const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
      const path = await file(records.map((fields) => fields.map(quoted).join(',')).join('\n'));
      const rows = await readers.csv(path, { columns, header: false });
      expect(rows.map((row) => columns.map((column) => row.text(column)))).toEqual(records);
    }),
    { numRuns: 30 },
  );
});

it('reads lines and JSON Lines', async () => {
  expect(await readers.lines(await file('a\n\nb\n'))).toEqual(['a', '', 'b']);
  const schema = z.object({ a: z.number() });
  expect(await readers.jsonl(await file('{"a":1}\n\n{"a":2,"b":3}'), schema)).toEqual([{ a: 1 }, { a: 2 }]);
});

describe('what is wrong is named', () => {
  const table = async (content: string | Uint8Array, header = false) =>
    readers.csv(await file(content), { columns, header });
  it.each([
    ['too few columns', 'a,b,1\nc,d\n', /:2, column 3 \(score\)$/],
    ['too many columns', 'a,b,1,9\n', /:1, column 4 /],
    ['an open quote', 'a,b,1\nc,"d,1\n', /:\d+$/],
    ['an empty file', ' \n', /\d$/],
    ['not UTF-8', Buffer.from([97, 10, 98, 0xe9, 44]), /:2:2$/],
    ['UTF-8 cut off at the end', Buffer.from([97, 0xc3]), /:1:2$/],
    ['a BOM and bad bytes far in', Buffer.concat([Buffer.from('ü\n'.repeat(5000)), Buffer.from([0xff])]), /:5001:1$/],
  ] as const)('%s', async (_, content, path) => {
    await expect(table(content)).rejects.toMatchObject({ code: 'trainer/data', path: expect.stringMatching(path) });
  });

  it('a column that is not in the header, or no rows', async () => {
    await expect(table('first,secnd,score\na,b,1\n', true)).rejects.toMatchObject({
      code: 'trainer/data',
      expected: 'second',
      hint: "nearest: 'secnd'",
    });
    await expect(table('first,second,score\n', true)).rejects.toMatchObject({ code: 'trainer/data' });
    await expect(readers.csv(join(folder, 'absent'), { columns, header: false })).rejects.toMatchObject({
      code: 'trainer/data',
    });
  });

  it('an unknown label, a number out of range', async () => {
    const [row] = await table('positve,b,7\n');
    expect(row!.label('second', ['a', 'b'])).toBe(1);
    expect(() => row!.label('first', ['negative', 'positive'])).toThrow("did you mean 'positive'?");
    expect(() => row!.number('score', { min: 0, max: 5 })).toThrow('from 0 to 5');
  });

  it('JSON Lines', async () => {
    const path = await file('{"a":1}\n{"a":"x"}\n');
    await expect(readers.jsonl(path, z.object({ a: z.number() }))).rejects.toMatchObject({
      path: `${path}:2, column a`,
    });
    const broken = await file('{"a":1}\n{a}\n');
    await expect(readers.jsonl(broken, z.object({}))).rejects.toMatchObject({ path: `${broken}:2` });
  });
});
