/** Notices that a script is over although its workers still run, because it never closed them. */
import { liveGroups } from '../coordinator/live.js';

const POLL_MILLISECONDS = 200;
const POLLS_TO_BE_SURE = 3;

/**
 * Resolves once the script can do nothing any more: no worker group is left, or all are idle and only their sockets
 * keep the event loop alive; then it closes them.
 */
export async function closeWhenScriptIsOver(): Promise<void> {
  let idlePolls = 0;
  while (liveGroups().length > 0) {
    idlePolls = onlyGroupsAreLeft() ? idlePolls + 1 : 0;
    if (idlePolls >= POLLS_TO_BE_SURE) await Promise.all(liveGroups().map((group) => group.close()));
    else await pause();
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS).unref());
}

function onlyGroupsAreLeft(): boolean {
  const groups = liveGroups();
  if (groups.some(({ isIdle }) => !isIdle)) return false;
  return (
    scriptResources(
      process.getActiveResourcesInfo(),
      groups.reduce((sum, { numWorkers }) => sum + numWorkers, 0),
      groups.length,
    ).length === 0
  );
}

/**
 * The resources that hold the event loop apart from those of the groups: a listening socket per group and two
 * connections per worker, and the standard streams.
 */
export function scriptResources(active: readonly string[], numWorkers: number, numGroups: number): string[] {
  const allowance = new Map([
    ['TCPServerWrap', numGroups],
    ['TCPSocketWrap', 2 * numWorkers],
    ['PipeWrap', numWorkers + 3],
    ['TTYWrap', 3],
  ]);
  return active.filter((name) => {
    const left = allowance.get(name) ?? 0;
    allowance.set(name, left - 1);
    return left <= 0;
  });
}
