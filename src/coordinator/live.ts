/** The worker groups of this process, for whoever must end them without having started them. */
import { processWide } from './processWide.js';

export interface LiveGroup {
  /** No command is under way. */
  readonly isIdle: boolean;
  readonly numWorkers: number;
  close(): Promise<void>;
}

const groups = processWide('workerGroups', () => new Set<LiveGroup>());

export function addLiveGroup(group: LiveGroup): void {
  groups.add(group);
}

export function removeLiveGroup(group: LiveGroup): void {
  groups.delete(group);
}

export function liveGroups(): readonly LiveGroup[] {
  return [...groups];
}
