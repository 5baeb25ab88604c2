/** How a command says what went wrong. */
import { MerakError } from '../errors.js';

/** A MerakError says it all by itself; anything else is a bug somewhere and shows its stack. */
export function complaint(thrown: unknown): string {
  if (thrown instanceof MerakError) return thrown.message;
  // The script may run another copy of Merak (src beside dist).
  if (thrown instanceof Error && thrown.name === 'MerakError') return thrown.message;
  if (thrown instanceof Error) return thrown.stack ?? thrown.message;
  return String(thrown);
}

export function complain(thrown: unknown): void {
  process.stderr.write(`${complaint(thrown)}\n`);
}
