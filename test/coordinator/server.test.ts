/** Who is let in: strangers, duplicates and workers of another generation are refused and change nothing. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FromWorker, ToWorker } from '../../src/coordinator/messages.js';
import { type ControlServer, startServer, type WorkerStream } from '../../src/coordinator/server.js';
import { type Connection, connect } from '../../src/worker/connection.js';

const TOKEN = 'a'.repeat(64);

describe('the coordinator', () => {
  let server: ControlServer;
  let streams: (WorkerStream | undefined)[];
  let received: FromWorker[];
  let left: number[];

  beforeEach(async () => {
    streams = [];
    received = [];
    left = [];
    const events = { received, left, streams }; // A late event of the last test's server belongs to that test.
    server = await startServer(
      { host: '127.0.0.1', port: 0, token: TOKEN, generation: 4, numWorkers: 2 },
      {
        joined: (slot, stream) => {
          events.streams[slot] = stream;
        },
        message: (_, message) => events.received.push(message),
        left: (slot) => events.left.push(slot),
        beat: () => {},
      },
    );
  });
  afterEach(() => server.close());

  function dial(
    change: { token?: string; generation?: number; slot?: number },
    take: (message: ToWorker) => void = () => {},
  ): Connection {
    const invitation = {
      token: TOKEN,
      generation: 4,
      slot: 0,
      parent: process.pid,
      address: server.address,
      ...change,
    };
    const connection = connect(invitation, take);
    connection.send({ kind: 'hello', hello: { pid: 1, host: 'here', nodeVersion: 'v20' } });
    return connection;
  }

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  it.each([
    ['a wrong token', { token: 'b'.repeat(64) }, /join token is wrong/],
    ['no token', { token: '' }, /join token is wrong/],
    ['an old generation', { generation: 3 }, /generation 3 is over: this is generation 4/],
    ['a slot that is not there', { slot: 2 }, /no worker slot '2'/],
  ])('refuses %s', async (_, change, reason) => {
    const refusal = await dial(change).closed;
    expect(refusal?.code).toBe('coordinator/protocol');
    expect(refusal?.message).toMatch(reason);
    expect({ streams, received, left }).toEqual({ streams: [], received: [], left: [] });
  });

  it('refuses a second worker for a slot and keeps the first', async () => {
    const welcomes: ToWorker[] = [];
    dial({ slot: 1 }, (message) => welcomes.push(message));
    await until(() => received.length === 1);
    expect((await dial({ slot: 1 }).closed)?.message).toMatch(/slot 1 has already joined/);
    streams[1]?.send({ kind: 'abort', abort: { reason: 'still here' } });
    await until(() => welcomes.length === 1);
    expect(welcomes[0]).toMatchObject({ generation: 4, kind: 'abort', abort: { reason: 'still here' } });
    expect(left).toEqual([]);
  });

  it('tells when a worker leaves', async () => {
    const connection = dial({ slot: 0 });
    await until(() => received.length === 1);
    connection.end();
    expect(await connection.closed).toBeUndefined();
    expect(left).toEqual([0]);
  });
});
