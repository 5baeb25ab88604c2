/** This machine as the planner sees two workers on it. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { measureProfile } from '../../src/launcher/profile.js';
import { type Profile, parseProfile } from '../../src/planner/costs/profile.js';
import { type Cluster, localCluster } from '../../src/planner/search/cluster.js';

export const WORKERS = 2;
export const ADAM = { kind: 'adam', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 } as const;
const MEMORY_BYTES = 4e9;

/** @param file a profile written by `merak profile`; undefined: measured now */
export async function thisMachine(file: string | undefined): Promise<{ profile: Profile; cluster: Cluster }> {
  const profile = file === undefined ? await measureProfile(1) : parseProfile(readFileSync(file, 'utf8'), file);
  return { profile, cluster: localCluster(WORKERS, availableParallelism(), MEMORY_BYTES, profile) };
}

export function milliseconds(seconds: number): string {
  return `${(seconds * 1e3).toFixed(1)} ms`;
}

export function percent(share: number): string {
  return `${share >= 0 ? '+' : ''}${(100 * share).toFixed(0)} %`;
}
