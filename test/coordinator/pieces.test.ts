/** The control plane's small parts, without processes. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arrayFromBytes, chunkAssembler, chunksOf } from '../../src/coordinator/arrays.js';
import { environmentOf, takeInvitation } from '../../src/coordinator/environment.js';
import { lastLogLine } from '../../src/coordinator/logs.js';
import { heardAt, tick } from '../../src/coordinator/silence.js';
import { fromWorker, toWorker } from '../../src/coordinator/wire.js';
import { asMerakError, errorOf, failureOf } from '../../src/coordinator/wireError.js';
import { MerakError } from '../../src/errors.js';

describe('chunks', () => {
  it('come together again, whatever their size', () => {
    const arrays = fc.oneof(fc.float32Array({ maxLength: 50 }), fc.int32Array({ maxLength: 50 }));
    fc.assert(
      fc.property(arrays, fc.integer({ min: 1, max: 70 }), (array, chunkBytes) => {
        const assembler = chunkAssembler();
        const results = [...chunksOf(3, 1, array, chunkBytes)].map((chunk) => assembler.add(chunk));
        expect(results.slice(0, -1).every((result) => result === undefined)).toBe(true);
        expect(results.at(-1)).toEqual(array);
      }),
    );
  });

  it('out of order are refused', () => {
    const [first, second] = [...chunksOf(0, -1, Float32Array.of(1, 2), 4)];
    const assembler = chunkAssembler();
    expect(() => assembler.add(second!)).toThrow(MerakError);
    assembler.add(first!);
    expect(() => assembler.add(first!)).toThrow(/out of order/);
  });

  it('of unknown or broken tensors are refused', () => {
    expect(() => arrayFromBytes('bfloat16', new Uint8Array(4))).toThrow(/bfloat16/);
    expect(() => arrayFromBytes('float32', new Uint8Array(5))).toThrow(/no whole number/);
  });
});

describe('silence', () => {
  it('grows with the clock while somebody listens', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 }), (gaps) => {
        let [now, silence] = [100, heardAt(100)];
        for (const gap of gaps) {
          now += gap;
          silence = tick(silence, now, 0.5);
        }
        expect(silence.seconds).toBeCloseTo(now - 100);
      }),
    );
  });

  it("leaves out the listener's own pauses", () => {
    const silence = tick(tick(heardAt(0), 0.5, 0.5), 3600, 0.5);
    expect(silence.seconds).toBe(1.5);
    expect(tick(silence, 3600.5, 0.5).seconds).toBe(2);
  });
});

describe('the wire', () => {
  it('keeps numbers, zeros, empty texts and bytes', () => {
    const relay = { peer: 0, channel: '', data: Buffer.from([0, 255]) };
    expect(fromWorker.decode(fromWorker.encode({ generation: 2 ** 40, kind: 'relay', relay }))).toEqual({
      generation: 2 ** 40,
      kind: 'relay',
      relay,
    });
    const read = { index: 0, moment: -1 };
    expect(
      toWorker.decode(toWorker.encode({ generation: 0, kind: 'command', command: { id: 0, kind: 'read', read } })),
    ).toEqual({
      generation: 0,
      kind: 'command',
      command: { id: 0, kind: 'read', read },
    });
  });

  it('keeps errors', () => {
    const error = new MerakError('engine/kernel', 'no such kernel', {
      path: 'dense',
      expected: 'a',
      received: 'b',
      hint: 'c',
    });
    const copy = errorOf(failureOf(error));
    expect(copy.message).toBe(error.message);
    expect(copy.toJSON()).toEqual(error.toJSON());
    const foreign = failureOf(asMerakError(new TypeError('oops')));
    expect(foreign).toMatchObject({ code: 'coordinator/worker-lost', message: 'TypeError: oops' });
    expect(foreign.stack).toContain('pieces.test.ts');
  });
});

it('an invitation passes through the environment and leaves no token there', () => {
  const invitation = { token: 'secret', address: '127.0.0.1:5', generation: 3, slot: 0, parent: 77 };
  const environment: NodeJS.ProcessEnv = environmentOf(invitation);
  expect(takeInvitation(environment)).toEqual(invitation);
  expect(Object.values(environment)).not.toContain('secret');
  expect(takeInvitation(environment)).toBeUndefined();
});

it.each([
  ['a plain line\n\n', 'a plain line'],
  ['{"msg":"first"}\n{"level":30,"msg":"second"}\n', 'second'],
  ['{"msg":"whole"}\n{"msg":"cut o', '{"msg":"cut o'],
  ['', undefined],
])('the last log line of %j', (text, expected) => {
  const file = join(mkdtempSync(join(tmpdir(), 'merak-test-')), 'worker-0.log');
  writeFileSync(file, text);
  expect(lastLogLine(file)).toBe(expected);
});
