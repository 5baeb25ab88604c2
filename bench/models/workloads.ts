/** The training benchmarks, in the order they run. */
import { bertSmall } from './bert.js';
import { gpt10m, gpt124m } from './gpt.js';
import { lstm, resnet } from './layers.js';
import type { Workload } from './workload.js';

export const WORKLOADS: readonly Workload[] = [gpt10m, gpt124m, bertSmall, resnet, lstm];

export function workloadByName(name: string): Workload {
  const found = WORKLOADS.find((workload) => workload.name === name);
  if (found !== undefined) return found;
  throw new Error(`there is no benchmark '${name}': ${WORKLOADS.map((workload) => workload.name).join(', ')}`);
}
