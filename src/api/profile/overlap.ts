/** How much of the exchanges between ranks ran beside computation. */
import type { Span } from '../../runtime/spans.js';

export interface Overlap {
  /** Exchanges that were started and awaited apart. */
  readonly numStarted: number;
  /** Of these, how many had begun before the step stood still for them. */
  readonly numBegunBefore: number;
  /** Of all collectives, started apart or not. */
  readonly exchangeSeconds: number;
  /** Of these, while the step went on with something else. */
  readonly hiddenSeconds: number;
}

type Exchange = Extract<Span, { kind: 'exchange' }>;
type Awaited = Extract<Span, { kind: 'awaited' }>;

const MESSAGES: readonly string[] = ['send', 'receive', 'wait for the receiver'];

/** Of one rank's step; messages between stages do not count. */
export function overlapOf(spans: readonly Span[]): Overlap {
  const exchanges = spans.filter(
    (span): span is Exchange => span.kind === 'exchange' && !MESSAGES.includes(span.exchange),
  );
  const waits = spans.filter((span): span is Awaited => span.kind === 'awaited').sort((a, b) => a.begin - b.begin);
  const ofBuffer = new Map<number, Exchange[]>();
  for (const exchange of [...exchanges].sort((a, b) => a.begin - b.begin)) {
    ofBuffer.set(exchange.buffer, [...(ofBuffer.get(exchange.buffer) ?? []), exchange]);
  }
  // A buffer is exchanged, awaited, exchanged again: the n-th wait is for the last exchange that began before it ended.
  const begunBefore = waits.filter((wait) =>
    (ofBuffer.get(wait.buffer) ?? []).filter(({ begin }) => begin < wait.end).some(isLastAndBefore(wait)),
  );
  const hidden = exchanges
    .filter(({ helper }) => helper)
    .reduce((sum, one) => sum + (one.end - one.begin) - blocked(one, waits), 0);
  return {
    numStarted: waits.length,
    numBegunBefore: begunBefore.length,
    exchangeSeconds: exchanges.reduce((sum, { begin, end }) => sum + end - begin, 0),
    hiddenSeconds: hidden,
  };
}

function isLastAndBefore(wait: Awaited) {
  return (exchange: Exchange, index: number, all: readonly Exchange[]): boolean =>
    index === all.length - 1 && exchange.begin < wait.begin;
}

/** Seconds of the exchange in which the step stood still; waits do not overlap each other. */
function blocked({ begin, end }: Exchange, waits: readonly Awaited[]): number {
  return waits.reduce((sum, wait) => sum + Math.max(0, Math.min(end, wait.end) - Math.max(begin, wait.begin)), 0);
}

/** Of several steps or ranks together. */
export function sumOverlaps(overlaps: readonly Overlap[]): Overlap {
  const sum = (of: (one: Overlap) => number) => overlaps.reduce((total, one) => total + of(one), 0);
  return {
    numStarted: sum((one) => one.numStarted),
    numBegunBefore: sum((one) => one.numBegunBefore),
    exchangeSeconds: sum((one) => one.exchangeSeconds),
    hiddenSeconds: sum((one) => one.hiddenSeconds),
  };
}

export function renderOverlap({ numStarted, numBegunBefore, exchangeSeconds, hiddenSeconds }: Overlap): string {
  const share = exchangeSeconds === 0 ? 0 : (hiddenSeconds / exchangeSeconds) * 100;
  return `collectives started beside computation: ${numStarted}, of which ${numBegunBefore} had begun before they were awaited; ${share.toFixed(0)} % of the time of all collectives hidden`;
}
