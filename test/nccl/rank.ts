/** One rank of the NCCL tests, in a process of its own: `rank.ts <what> <rank> <numRanks> <id>`; prints one JSON line. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Communicator, init } from '../../src/nccl/index.js';
import { groupBytes } from '../../src/planner/costs/communicatorBytes.js';
import { loadAddon } from '../../src/runtime/native/addon.js';

const [what = '', rankText, numText, idText = ''] = process.argv.slice(2);
const [rank, numRanks] = [Number(rankText), Number(numText)];
const COUNT = 30_001; // several of the stand-in's chunks, and odd

/** Integers that sum without rounding. */
const valuesOf = (owner: number, count = COUNT): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => ((i * 31 + owner * 17) % 101) - 50);

const scenarios: Record<string, (comm: Communicator) => Promise<unknown>> = {
  async collectives(comm) {
    const x = await comm.alloc(4 * COUNT);
    const all = await comm.alloc(4 * COUNT * numRanks);
    await x.write(valuesOf(rank));
    await comm.allGather(x, all, { count: COUNT });
    const gathered = await all.read(Float32Array);
    await comm.reduceScatter(all, x, { count: COUNT });
    const scattered = await x.read(Float32Array);
    await x.write(valuesOf(rank));
    await comm.allReduce(x, x, { count: COUNT });
    const sum = await x.read(Float32Array);
    await x.write(valuesOf(rank));
    await comm.allReduce(x, x, { count: COUNT, op: 'max' });
    const max = await x.read(Float32Array);
    await x.write(valuesOf(rank));
    await comm.broadcast(x, x, { count: COUNT, root: numRanks - 1 });
    const broadcast = await x.read(Float32Array);
    return {
      gathered: digest(gathered),
      scattered: digest(scattered),
      sum: digest(sum),
      max: digest(max),
      broadcast: digest(broadcast),
    };
  },
  /** What the communicator has taken of the card once it had joined, summed and sent, and what plans count for one of a group. */
  async memory(comm) {
    const joined = freeBefore - free();
    const [out, back] = [await comm.alloc(4 * COUNT), await comm.alloc(4 * COUNT)];
    const before = free() + joined;
    await comm.allReduce(out, out, { count: COUNT });
    await comm.synchronize();
    const summed = before - free();
    if (numRanks > 1) {
      await comm.group((calls) => {
        calls.send(out, { count: COUNT, peer: (rank + 1) % numRanks });
        calls.recv(back, { count: COUNT, peer: (rank + numRanks - 1) % numRanks });
      });
      await comm.synchronize();
    }
    const planned = groupBytes(numRanks, loadAddon().ncclCtas().group);
    return { joined, summed, sent: before - free(), planned };
  },
  /** Everybody to the next and from the last, in one group: apart, they would wait for each other for ever. */
  async ring(comm) {
    const [out, back] = [await comm.alloc(4 * COUNT), await comm.alloc(4 * COUNT)];
    await out.write(valuesOf(rank));
    await comm.group((calls) => {
      calls.send(out, { count: COUNT, peer: (rank + 1) % numRanks });
      calls.recv(back, { count: COUNT, peer: (rank + numRanks - 1) % numRanks });
    });
    return digest(await back.read(Float32Array));
  },
  /** Rank 1 leaves; the others meet nobody. */
  async absent(comm) {
    const x = await comm.alloc(4);
    if (rank === 1) process.kill(process.pid, 'SIGKILL');
    await comm.allReduce(x, x, { count: 1 });
    await comm.synchronize();
    return 'done';
  },
  async abort(comm) {
    const x = await comm.alloc(4);
    if (rank === 1) return sleep(1500, 'did not come');
    await comm.allReduce(x, x, { count: 1 });
    setTimeout(() => comm.abort('the test wants it so'), 100);
    await comm.synchronize();
    return 'done';
  },
};

/** Sum of elements weighted by position: differs when any element does. */
function digest(values: Float32Array): number {
  return values.reduce((sum, value, i) => sum + value * ((i % 97) + 1), 0);
}

const device = Number(process.env.SAME_DEVICE ?? rank);
const free = (): number => loadAddon().gpuFreeBytes(device);
let freeBefore = 0;
const started = performance.now();
try {
  const timeoutSeconds = what === 'absent' ? 1.5 : 60;
  const id = new Uint8Array(Buffer.from(idText, 'hex'));
  if (what === 'memory') freeBefore = free();
  const comm = await init({ device, numRanks, rank, id, timeoutSeconds });
  const result = await scenarios[what]!(comm);
  comm.close();
  console.log(JSON.stringify({ result }));
} catch (error) {
  const { code, message } = error as { code?: string; message: string };
  console.log(JSON.stringify({ code, message, seconds: (performance.now() - started) / 1000 }));
}
