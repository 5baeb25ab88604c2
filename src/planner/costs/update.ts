/** What an optimizer's update takes: it streams through memory. */
import type { OptimizerPlan } from '../../plan/plan.js';
import type { DeviceModel } from './device.js';
import { rateAt } from './rates.js';

/** Bytes moved per byte of gradients: reads and writes of the value, the gradient and its moments. */
const TRAFFIC = { sgd: 3, momentum: 5, rmsprop: 7, adam: 7 } as const;

/** @param bytes of the gradients that one rank updates by */
export function updateSeconds(bytes: number, { kind }: OptimizerPlan, device: DeviceModel): number {
  if (bytes <= 0) return 0;
  const moved = bytes * TRAFFIC[kind];
  return device.launchSeconds + moved / rateAt(device.memoryBytesPerSecond, moved);
}
