/** Planned memory of every rank: bytes per space and per arena, for printing and for comparing with what is measured. */
import { spaceBytes } from './memory.js';
import type { Executable, Plan, RankPlan, SpacePlan } from './plan.js';

export interface RankMemory {
  readonly rank: number;
  readonly persistentBytes: number;
  /** Bytes per space: persistent ones by name, working ones as `executable/space`. */
  readonly spaces: Readonly<Record<string, number>>;
  /** Arena bytes per executable. */
  readonly executables: Readonly<Record<string, number>>;
  /** Kernel scratch and packed weights; 0 where no device has said. */
  readonly workspaceBytes: number;
  /** Of NCCL, at the most; 0 where ranks exchange otherwise. */
  readonly communicatorBytes: number;
  /** The persistent arena, every executable's arena, the workspace and the communicators together: all are there at once. */
  readonly peakBytes: number;
}

/** The executables of a rank share one scratch and weights in 16 bits, and keep their packed weights each for itself. */
export function workspaceBytes(executables: readonly Pick<Executable, 'workspace'>[]): number {
  const workspaces = executables.flatMap(({ workspace }) => workspace ?? []);
  const scratch = Math.max(0, ...workspaces.map(({ scratchBytes }) => scratchBytes));
  const rounded = new Map(
    workspaces.flatMap((one) => one.roundedWeights.map(({ offset, bytes }) => [offset, bytes] as const)),
  );
  return sum([scratch, ...workspaces.map(({ keptBytes }) => keptBytes), ...rounded.values()]);
}

const sum = (bytes: readonly number[]) => bytes.reduce((all, one) => all + one, 0);

export function rankMemory(plan: RankPlan): RankMemory {
  const sizes = (spaces: readonly SpacePlan[], prefix: string) =>
    spaces.map((one) => [`${prefix}${one.space}`, spaceBytes(one)] as const);
  const workspace = workspaceBytes(plan.executables);
  const { communicatorBytes = 0 } = plan;
  const executables = plan.executables.map(({ name, arenaBytes }) => [name, arenaBytes] as const);
  return {
    rank: plan.rank,
    persistentBytes: plan.persistentBytes,
    spaces: Object.fromEntries([
      ...sizes(plan.persistentSpaces, ''),
      ...plan.executables.flatMap(({ name, spaces }) => sizes(spaces, `${name}/`)),
      ...(workspace > 0 ? [['workspace', workspace] as const] : []),
      ...(communicatorBytes > 0 ? [['communicators', communicatorBytes] as const] : []),
    ]),
    executables: Object.fromEntries(executables),
    workspaceBytes: workspace,
    communicatorBytes,
    peakBytes: executables.reduce(
      (sum, [, bytes]) => sum + bytes,
      plan.persistentBytes + workspace + communicatorBytes,
    ),
  };
}

export function memoryReport(plan: Plan): RankMemory[] {
  return plan.ranks.map(rankMemory);
}

/** `1.5 MB`: powers of ten, as disks and networks count. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [value, unit] = [bytes, 0];
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
