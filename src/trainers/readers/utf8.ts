/** Text files as UTF-8, refusing what is not. */
import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { MerakError } from '../../errors.js';

/** The whole file, without a byte order mark. @throws MerakError trainer/data: unreadable, empty, or not UTF-8 (where) */
export async function readUtf8(file: string): Promise<string> {
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new MerakError('trainer/data', 'a data file cannot be read', { path: file, cause });
  });
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    const at = firstBadByte(bytes);
    throw new MerakError('trainer/data', 'a data file is not UTF-8', {
      path: `${file}:${at.line}:${at.column}`,
      received: `byte 0x${at.byte.toString(16).padStart(2, '0')}`,
      hint: 'convert it, e.g. iconv -f latin1 -t utf-8',
    });
  }
  if (text.trim() !== '') return text;
  throw new MerakError('trainer/data', 'a data file is empty', { path: file, received: `${bytes.length} bytes` });
}

/** Line and column (in characters, both from 1) of the first byte that does not decode. */
function firstBadByte(bytes: Uint8Array): { line: number; column: number; byte: number } {
  // No sequence of several bytes contains a line end, so each line decodes or not by itself.
  let [begin, line] = [0, 1];
  for (;;) {
    const lineEnd = bytes.indexOf(LINE_END, begin);
    const end = lineEnd === -1 ? bytes.length : lineEnd;
    if (!isUtf8(bytes.subarray(begin, end))) break;
    begin = end + 1;
    line++;
  }
  for (let [at, column] = [begin, 1]; ; column++) {
    const length = sequenceLength(bytes[at]!);
    if (!isUtf8(bytes.subarray(at, at + length))) return { line, column, byte: bytes[at]! };
    at += length;
  }
}

const LINE_END = 0x0a;

/** Bytes of the sequence a lead byte begins (RFC 3629); 1 for what is no lead byte. */
function sequenceLength(lead: number): number {
  if (lead >= 0xf0) return 4;
  if (lead >= 0xe0) return 3;
  return lead >= 0xc0 ? 2 : 1;
}
