/** What the native engine's kernels take beside the arenas, asked of the addon without allocating any of it. */
import type { Program, Workspace, WorkspaceOf } from '../../plan/plan.js';
import { loadAddon } from './addon.js';
import { toMerakError } from './error.js';

/**
 * For engines of so many threads, or for cards of a compute capability (90). Replicas share their programs, so each is asked about once. Nothing where the engine cannot run
 * the executable, or is not there: it will not run it then.
 */
export function nativeWorkspace(threads: number, capability?: number): WorkspaceOf {
  const known = new WeakMap<readonly Program[], Workspace>();
  return (executable, rank) => {
    let workspace = known.get(executable.programs);
    if (workspace === undefined) {
      workspace = ask(executable, rank, threads, capability);
      known.set(executable.programs, workspace);
    }
    return workspace;
  };
}

function ask(
  executable: Parameters<WorkspaceOf>[0],
  rank: Parameters<WorkspaceOf>[1],
  threads: number,
  capability: number | undefined,
): Workspace {
  try {
    return loadAddon().workspace(executable, rank, threads, capability);
  } catch (error) {
    const problem = toMerakError(error);
    if (problem.code === 'engine/unsupported') return { scratchBytes: 0, keptBytes: 0, roundedWeights: [] };
    throw problem;
  }
}
