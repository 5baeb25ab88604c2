/** Errors of the addon as MerakErrors. */
import { type ErrorCode, MerakError } from '../../errors.js';

const CODES: ReadonlySet<string> = new Set<ErrorCode>([
  'plan/invalid',
  'plan/out-of-memory',
  'engine/unsupported',
  'engine/not-loaded',
  'engine/nan-loss',
  'engine/kernel',
  'engine/no-gpu',
  'engine/cuda',
  'comm/timeout',
  'comm/aborted',
  'comm/peer-lost',
  'comm/mismatch',
  'config/batch',
  'config/invalid',
]);

function isCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && CODES.has(code);
}

/** A MerakError with the code the addon attached; what carries none becomes engine/kernel. */
export function toMerakError(error: unknown): MerakError {
  if (error instanceof MerakError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && 'code' in error && isCode(error.code) ? error.code : 'engine/kernel';
  return new MerakError(code, message, { cause: error });
}

/** Awaits a call of the addon, with its errors translated. */
export async function translated<T>(call: () => Promise<T> | T): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toMerakError(error);
  }
}
