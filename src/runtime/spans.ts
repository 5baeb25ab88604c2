/** What a rank's step did and when, as the engine records it. */
import { MerakError } from '../errors.js';

/** In the order of the engine's Span::Kind (native/engine/recorder.h). */
const KINDS = ['step', 'instruction', 'node', 'exchange', 'awaited'] as const;
const PROGRAMS = ['forward', 'recompute', 'backward', 'weights'] as const;
const EXCHANGES = [
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'broadcast',
  'barrier',
  'send',
  'wait for the receiver',
  'receive',
] as const;
const FIELDS = 9;

export type ProgramKind = (typeof PROGRAMS)[number];
export type ExchangeKind = (typeof EXCHANGES)[number];

interface Interval {
  /** Seconds on the machine's steady clock, which all ranks of a host share. */
  readonly begin: number;
  readonly end: number;
}

/** `index`: the step's number; an instruction's place in the schedule; a node's place in its program. */
export type Span = Interval &
  (
    | { readonly kind: 'step' | 'instruction'; readonly index: number }
    | { readonly kind: 'node'; readonly index: number; readonly program: ProgramKind; readonly chunk: number }
    | {
        readonly kind: 'exchange';
        readonly exchange: ExchangeKind;
        /** Group id; the peer where it is a message. */
        readonly with: number;
        /** Seconds of it spent waiting for peers. */
        readonly waitSeconds: number;
        /** Of this rank's buffer. */
        readonly bytes: number;
        readonly buffer: number;
        /** It ran on the communicator's helper thread, beside computation. */
        readonly helper: boolean;
      }
    /** The step stood still until the exchange on `buffer`, started earlier, was over. */
    | { readonly kind: 'awaited'; readonly buffer: number }
  );

type Row = [number, number, number, number, number, number, number, number, number];

function rowOf(rows: Float64Array, index: number): Row {
  return [...rows.subarray(index * FIELDS, (index + 1) * FIELDS)] as Row;
}

/** Rows of numbers as the addon returns them. Raises engine/kernel when they are none: addon and sources differ. */
export function decodeSpans(rows: Float64Array): Span[] {
  const mismatch = (what: string): MerakError =>
    new MerakError('engine/kernel', `the engine recorded ${what}`, { hint: 'build it again: npm run build' });
  if (rows.length % FIELDS !== 0) throw mismatch(`${rows.length} numbers, no whole spans`);
  return Array.from({ length: rows.length / FIELDS }, (_, i): Span => {
    const [kindIndex, index, detail, begin, end, waitSeconds, bytes, buffer, helper] = rowOf(rows, i);
    const kind = KINDS[kindIndex];
    const at = { begin, end };
    if (kind === 'step' || kind === 'instruction') return { ...at, kind, index };
    if (kind === 'awaited') return { ...at, kind, buffer };
    const program = PROGRAMS[detail % PROGRAMS.length];
    if (kind === 'node' && program !== undefined)
      return { ...at, kind, index, program, chunk: Math.floor(detail / PROGRAMS.length) };
    const exchange = EXCHANGES[index];
    if (kind === 'exchange' && exchange !== undefined)
      return { ...at, kind, exchange, with: detail, waitSeconds, bytes, buffer, helper: helper === 1 };
    throw mismatch(`a span of the unknown kind ${kindIndex}`);
  });
}
