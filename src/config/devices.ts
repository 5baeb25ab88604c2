/** What `--device` and `--devices` ask for, before anybody has looked at the machine. */
import { MerakError } from '../errors.js';
import type { Options } from './schema.js';

type Wanted = Pick<Options, 'device' | 'devices'>;

/** Whether the options leave it open that GPUs are used: `auto` takes those it finds. */
export function mayUseCuda({ device, devices }: Wanted): boolean {
  return device === 'cuda' || device === 'auto' || devices !== undefined;
}

/** Whether the options insist on GPUs. */
export function wantsCuda({ device, devices }: Wanted): boolean {
  return device === 'cuda' || devices !== undefined;
}

/**
 * The number of GPUs that `--devices cuda:N` names; undefined for all there are.
 *
 * @throws MerakError config/invalid when `device` names another engine
 */
export function numGpusWanted({ device, devices }: Wanted): number | undefined {
  if (devices === undefined) return undefined;
  if (device !== 'auto' && device !== 'cuda') {
    throw new MerakError('config/invalid', `devices '${devices}' and device '${device}' contradict each other`, {
      path: 'devices',
      hint: `leave out --device ${device}, or --devices`,
    });
  }
  const [, count] = devices.split(':');
  return count === undefined ? undefined : Number(count);
}

/** The number of workers asked for: one for each GPU of `--devices cuda:N` where nothing else is said; undefined where nothing is. */
export function workersWanted(options: Wanted & Pick<Options, 'workers' | 'dp' | 'tp' | 'pp'>): number | undefined {
  const { workers, dp, tp, pp } = options;
  return workers ?? ([dp, tp, pp].every((degree) => degree === undefined) ? numGpusWanted(options) : undefined);
}
