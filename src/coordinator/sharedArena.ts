/** Parameters read and written where they lie: the front of a worker's arena on this host is a memfd that this process may open. */
import { closeSync, fstatSync, openSync, readlinkSync, readSync, writeSync } from 'node:fs';
import type { RankParameter, RankPlan } from '../plan/plan.js';
import type { ArenaHandle } from '../runtime/device.js';
import { bytesOf } from './arrays.js';

export interface SharedArena {
  /**
   * False when the tensor is none this arena knows, or not of that size: then a message says so better; or when it lies behind the
   * front, as large optimizer moments do.
   */
  write(index: number, kind: 'value' | number, data: Float32Array | Int32Array): boolean;
  read(index: number, kind: 'value' | number): Float32Array | Int32Array | undefined;
  close(): void;
}

/**
 * Undefined where the arena cannot be reached: another host, another user, no /proc, a device that keeps its tensors
 * elsewhere. The caller sees to it that the worker is idle.
 */
export function openSharedArena(plan: RankPlan, handles: readonly ArenaHandle[]): SharedArena | undefined {
  const handle = handles.find(({ rank, arena }) => rank === plan.rank && arena === 'persistent');
  const file = handle === undefined ? undefined : openMemfd(handle);
  if (handle === undefined || file === undefined) return undefined;
  const reached = (index: number, kind: 'value' | number): Place | undefined => {
    const place = placeOf(plan, index, kind);
    return place !== undefined && place.offset + place.bytes <= handle.bytes ? place : undefined;
  };
  return {
    write(index, kind, data) {
      const place = reached(index, kind);
      if (place === undefined || place.bytes !== data.byteLength || place.isInt !== data instanceof Int32Array)
        return false;
      return transfer(place, (done) => writeSync(file, bytesOf(data), done, place.bytes - done, place.offset + done));
    },
    read(index, kind) {
      const place = reached(index, kind);
      if (place === undefined) return undefined;
      const data = place.isInt ? new Int32Array(place.bytes / 4) : new Float32Array(place.bytes / 4);
      const bytes = bytesOf(data);
      const whole = transfer(place, (done) => readSync(file, bytes, done, place.bytes - done, place.offset + done));
      return whole ? data : undefined;
    },
    close: () => closeSync(file),
  };
}

function openMemfd({ pid, fd, bytes }: ArenaHandle): number | undefined {
  const path = `/proc/${pid}/fd/${fd}`;
  try {
    if (!readlinkSync(path).startsWith('/memfd:')) return undefined;
    const file = openSync(path, 'r+');
    if (fstatSync(file).size >= bytes) return file;
    closeSync(file);
  } catch {
    // Whatever keeps us out: messages reach every worker.
  }
  return undefined;
}

interface Place {
  /** Bytes from the beginning of the arena. */
  readonly offset: number;
  readonly bytes: number;
  readonly isInt: boolean;
}

function placeOf(plan: RankPlan, index: number, kind: 'value' | number): Place | undefined {
  const parameter = plan.parameters[index];
  if (parameter === undefined || parameter.dtype === 'bool') return undefined;
  const name = kind === 'value' ? 'parameters' : 'optimizer';
  const base = plan.persistentSpaces.find(({ space }) => space === name)?.base;
  const within = kind === 'value' ? parameter.offset : parameter.momentOffsets[kind];
  if (base === undefined || within === undefined || within < 0) return undefined;
  const bytes = 4 * (kind === 'value' ? numElements(parameter) : ownedElements(parameter));
  return { offset: base + within, bytes, isInt: kind === 'value' && parameter.dtype === 'int32' };
}

function numElements({ shape }: RankParameter): number {
  return shape.reduce((product, size) => product * size, 1);
}

function ownedElements(parameter: RankParameter): number {
  const { owned } = parameter;
  return owned === undefined ? numElements(parameter) : owned.end - owned.begin;
}

/** The system may move less than asked for (2 GiB at a time, on Linux); false when it moves nothing. */
function transfer({ bytes }: Place, move: (done: number) => number): boolean {
  let done = 0;
  while (done < bytes) {
    const moved = move(done);
    if (moved <= 0) return false;
    done += moved;
  }
  return true;
}
