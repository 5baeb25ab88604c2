/** What a running executable knows: its plan, its memory, its place in the group, and the step. */
import { MerakError } from '../../errors.js';
import type { Executable, Group, RankPlan } from '../../plan/plan.js';
import type { HostCommunicator } from '../communicator.js';
import type { StepInput } from '../device.js';
import type { CompiledProgram } from './compile.js';
import type { Storage } from './storage.js';

export interface StepContext {
  readonly plan: RankPlan;
  readonly executable: Executable;
  readonly programs: ReadonlyMap<string, CompiledProgram>;
  readonly storage: Storage;
  readonly communicator: HostCommunicator;
  readonly backend: string;
  readonly input: StepInput;
  /** Why the run should stop, once something says so. */
  readonly abortReason: () => string | undefined;
}

/** The rank's group of a mesh axis, or undefined when the axis has one rank. */
export function groupOf(plan: RankPlan, axis: Group['axis']): Group | undefined {
  const group = plan.groups.find((one) => one.axis === axis && one.ranks.includes(plan.rank));
  return group === undefined || group.ranks.length === 1 ? undefined : group;
}

export function groupById(plan: RankPlan, id: number): Group | undefined {
  const group = plan.groups.find((one) => one.id === id);
  return group === undefined || group.ranks.length === 1 ? undefined : group;
}

/** Whether the executable makes gradients and updates parameters. */
export function trains(executable: Executable): boolean {
  return executable.schedule.some(({ kind }) => kind === 'update');
}

export function checkAborted({ abortReason, plan }: Pick<StepContext, 'abortReason' | 'plan'>): void {
  const reason = abortReason();
  if (reason !== undefined) throw new MerakError('comm/aborted', reason, { path: `rank ${plan.rank}` });
}
