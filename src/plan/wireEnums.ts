/** Names in TypeScript, numbers on the wire: each list is in the order of its enum in proto/merak.proto. */
import { MerakError } from '../errors.js';
import { PERSISTENT_SPACES, WORKING_SPACES } from './plan.js';

export const DTYPES = ['float32', 'int32', 'bool'] as const;
export const PROGRAM_DTYPES = [...DTYPES, 'bfloat16', 'int8', 'float16'] as const;
export const SPACES = [...PERSISTENT_SPACES, ...WORKING_SPACES] as const;
export const LAYOUTS = ['replicate', 'shard', 'partial'] as const;
export const INITIALIZERS = ['constant', 'uniform', 'normal', 'truncatedNormal'] as const;
export const PROGRAMS = ['forward', 'recompute', 'backward', 'weights'] as const;
export const INSTRUCTIONS = [
  'load',
  'forward',
  'recompute',
  'backward',
  'send',
  'receive',
  'zero',
  'reduce',
  'reduceState',
  'update',
  'weights',
  'handOver',
] as const;
export const MESSAGES = ['activation', 'gradient'] as const;
export const PLACEMENTS = ['loop', 'vee'] as const;
export const AXES = ['tp', 'dp', 'world', 'tie'] as const;
export const RECOMPUTATIONS = ['none', 'full', 'partial'] as const;
export const TASKS = ['F', 'R', 'B', 'W'] as const;

/** @throws MerakError 'plan/invalid' for a number the enum does not have. */
export function nameOf<T extends string>(names: readonly T[], number: number): T {
  const name = names[number];
  if (name === undefined) {
    throw new MerakError('plan/invalid', 'the plan was written by another version of Merak', {
      expected: names.join(', '),
      received: String(number),
    });
  }
  return name;
}

export function numberOf<T extends string>(names: readonly T[], name: T): number {
  return names.indexOf(name);
}
