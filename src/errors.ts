/** The one error type of Merak: a union by `code`, with the data apart from the message text. */

/** Every code Merak can raise, as `room/what`. Add here, never invent one at the throw site. */
export type ErrorCode =
  | 'config/unknown-key'
  | 'config/invalid'
  | 'config/degrees'
  | 'config/batch'
  | 'config/port-in-use'
  | 'trace/data-read'
  | 'trace/unknown-kernel'
  | 'trace/dynamic-shape'
  | 'trace/random-constant'
  | 'trace/model'
  | 'layout/illegal'
  | 'plan/too-many-stages'
  | 'plan/out-of-memory'
  | 'plan/deadlock'
  | 'plan/invalid'
  | 'autodiff/no-gradient'
  | 'engine/unsupported'
  | 'engine/not-loaded'
  | 'engine/nan-loss'
  | 'engine/kernel'
  | 'engine/no-gpu'
  | 'engine/cuda'
  | 'comm/timeout'
  | 'comm/aborted'
  | 'comm/peer-lost'
  | 'comm/mismatch'
  | 'coordinator/worker-lost'
  | 'coordinator/worker-start'
  | 'coordinator/protocol'
  | 'coordinator/timeout'
  | 'coordinator/script'
  | 'checkpoint/missing'
  | 'checkpoint/corrupt'
  | 'checkpoint/mismatch'
  | 'checkpoint/write'
  | 'verify/mismatch'
  | 'trainer/unknown'
  | 'trainer/plugin'
  | 'trainer/data'
  | 'trainer/resume';

export interface ErrorDetails {
  /** Where: a config key, a layer name, `file:line:column`, a rank, ... */
  readonly path?: string;
  readonly expected?: string;
  readonly received?: string;
  /** What to do about it. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** A typed error: says what (`code`, `message`), where (`path`) and what to do (`hint`). */
export class MerakError extends Error {
  readonly code: ErrorCode;
  /** What happened, without code, place and hint (`message` has them all). */
  readonly summary: string;
  readonly path: string | undefined;
  readonly expected: string | undefined;
  readonly received: string | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(describe(code, message, details), details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'MerakError';
    this.code = code;
    this.summary = message;
    this.path = details.path;
    this.expected = details.expected;
    this.received = details.received;
    this.hint = details.hint;
  }

  /** The data without the prose, for reports and the wire. */
  toJSON(): { code: ErrorCode; message: string } & ErrorDetails {
    const { code, message, path, expected, received, hint } = this;
    return { code, message, ...definedOnly({ path, expected, received, hint }) };
  }
}

function describe(code: ErrorCode, message: string, details: ErrorDetails): string {
  const lines = [`[${code}] ${message}`];
  if (details.path !== undefined) lines.push(`  at: ${details.path}`);
  if (details.expected !== undefined) lines.push(`  expected: ${details.expected}`);
  if (details.received !== undefined) lines.push(`  received: ${details.received}`);
  if (details.hint !== undefined) lines.push(`  hint: ${details.hint}`);
  return lines.join('\n');
}

function definedOnly<T extends Record<string, unknown>>(record: T): Partial<T> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as Partial<T>;
}
