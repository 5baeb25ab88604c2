/** Who may join: decided from a stream's metadata before any of its messages is read. */
import { timingSafeEqual } from 'node:crypto';
import { type Metadata, status } from '@grpc/grpc-js';
import { METADATA } from './wire.js';

export interface Membership {
  readonly token: string;
  readonly generation: number;
  readonly numWorkers: number;
}

export type Admission =
  | { readonly slot: number }
  | { readonly refusal: { readonly code: status; readonly details: string } };

/** `taken(slot)` tells whether a worker already holds the slot. */
export function admit(metadata: Metadata, membership: Membership, taken: (slot: number) => boolean): Admission {
  if (!sameSecret(text(metadata, METADATA.token), membership.token)) {
    return refuse(status.UNAUTHENTICATED, 'the join token is wrong');
  }
  const generation = text(metadata, METADATA.generation);
  if (generation !== String(membership.generation)) {
    return refuse(
      status.FAILED_PRECONDITION,
      `generation ${generation || 'unknown'} is over: this is generation ${membership.generation}`,
    );
  }
  const slot = Number(text(metadata, METADATA.slot) || Number.NaN);
  if (!Number.isInteger(slot) || slot < 0 || slot >= membership.numWorkers) {
    return refuse(status.INVALID_ARGUMENT, `there is no worker slot '${text(metadata, METADATA.slot)}'`);
  }
  if (taken(slot)) return refuse(status.ALREADY_EXISTS, `worker slot ${slot} has already joined`);
  return { slot };
}

function text(metadata: Metadata, key: string): string {
  return metadata.get(key).join();
}

function refuse(code: status, details: string): Admission {
  return { refusal: { code, details } };
}

function sameSecret(given: string, wanted: string): boolean {
  const a = Buffer.from(given);
  const b = Buffer.from(wanted);
  return a.length === b.length && timingSafeEqual(a, b);
}
