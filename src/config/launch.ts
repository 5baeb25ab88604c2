/** How `merak launch` tells the user's script, running in the same process, what the flags said. */
import type { PlanOutcome } from '../planner/outcome.js';
import type { OptionsInput } from './schema.js';

/** What the command asks of `wrap`: train (launch), print the plan and stop (plan), or compare (verify). */
export type LaunchMode = 'launch' | 'plan' | 'verify';

export interface LaunchContext {
  readonly mode: LaunchMode;
  readonly flags: OptionsInput;
  /** Steps to compare (verify). */
  readonly verifySteps?: number;
  /** For which cluster (plan; default: this machine), and what becomes of the result. */
  readonly planning?: {
    readonly cluster: string | undefined;
    readonly show: (outcome: PlanOutcome) => Promise<void>;
  };
}

// A symbol on globalThis, because the script may load another copy of this module (bundled, or src beside dist).
const KEY = Symbol.for('merak.launch');
type Holder = { [KEY]?: LaunchContext };

export function setLaunchContext(context: LaunchContext | undefined): void {
  (globalThis as Holder)[KEY] = context;
}

/** The context of the running command; undefined when the script was started by plain `node`. */
export function launchContext(): LaunchContext | undefined {
  return (globalThis as Holder)[KEY];
}

/** Thrown through the user's script when the command has what it wanted: not an error, but the end. */
export class CommandDone extends Error {
  constructor(readonly exitCode: number) {
    super('the command is done');
    this.name = 'CommandDone';
  }
}

/** By name: a script run through a TypeScript loader has its own copy of this module. */
export function isCommandDone(thrown: unknown): thrown is CommandDone {
  return thrown instanceof Error && thrown.name === 'CommandDone';
}
