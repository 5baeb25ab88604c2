/** MerakErrors as data on the wire, and anything thrown as a MerakError. */
import { type ErrorCode, MerakError } from '../errors.js';
import type { WireFailure } from './messages.js';

/** Anything thrown in a worker as a MerakError; a plain error becomes `code` and keeps its stack as the cause. */
export function asMerakError(thrown: unknown, code: ErrorCode = 'coordinator/worker-lost'): MerakError {
  if (thrown instanceof MerakError) return thrown;
  const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return new MerakError(code, text, { cause: thrown });
}

export function failureOf(error: MerakError): WireFailure {
  const { code, summary, path = '', expected = '', received = '', hint = '' } = error;
  const origin = error.cause instanceof Error ? error.cause : error;
  return { code, message: summary, path, expected, received, hint, stack: origin.stack ?? '' };
}

/** The error as the worker had it; codes are not checked, since both ends are of one version. */
export function errorOf(failure: WireFailure): MerakError {
  const { code, message, path, expected, received, hint } = failure;
  return new MerakError(code as ErrorCode, message, {
    ...(path && { path }),
    ...(expected && { expected }),
    ...(received && { received }),
    ...(hint && { hint }),
  });
}
