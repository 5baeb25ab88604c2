/** A simulation as Chrome trace JSON: opens in Perfetto (ui.perfetto.dev) and chrome://tracing. */
import type { Simulation, TimedTask } from './simulate.js';

export interface TraceEvent {
  readonly name: string;
  /** X: a span; M: a name; s and f: the ends of an arrow. */
  readonly ph: 'X' | 'M' | 's' | 'f';
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly id?: number;
  readonly bp?: 'e';
  /** One of Chrome's reserved colour names. */
  readonly cname?: string;
  readonly args?: Readonly<Record<string, string | number>>;
}

export interface ChromeTrace {
  readonly displayTimeUnit: 'ms';
  readonly traceEvents: readonly TraceEvent[];
}

const STAGES = 0;
const MESSAGES = 1;
const COLOURS: Readonly<Record<TimedTask['kind'], string>> = {
  F: 'thread_state_running',
  R: 'thread_state_iowait',
  B: 'rail_response',
  W: 'rail_animation',
};
const NAMES: Readonly<Record<TimedTask['kind'], string>> = {
  F: 'forward',
  R: 'recompute',
  B: 'backward',
  W: 'weights',
};

/** One row per stage, one per stage for what it sends; simulated seconds become microseconds. Zero-length spans are left out. */
export function chromeTrace({ tasks, transfers }: Simulation): ChromeTrace {
  const named = (pid: number, name: string): TraceEvent => ({
    name: 'process_name',
    ph: 'M',
    pid,
    tid: 0,
    args: { name },
  });
  const row = (pid: number, tid: number, name: string): TraceEvent => ({
    name: 'thread_name',
    ph: 'M',
    pid,
    tid,
    args: { name },
  });
  const spans = tasks.flatMap((list, stage) =>
    list
      .filter(({ start, end }) => end > start)
      .map(
        ({ label, kind, micro, chunk = 0, start, end }): TraceEvent => ({
          name: label,
          cat: NAMES[kind],
          ph: 'X',
          pid: STAGES,
          tid: stage,
          ts: start * 1e6,
          dur: (end - start) * 1e6,
          cname: COLOURS[kind],
          args: { 'micro-batch': micro, chunk },
        }),
      ),
  );
  const messages = transfers
    .filter(({ start, end }) => end > start)
    .flatMap(({ what, label, from, to, start, end }, id): TraceEvent[] => {
      const at = { cat: what, pid: MESSAGES, tid: from };
      const span = { ...at, name: label, ph: 'X', ts: start * 1e6, dur: (end - start) * 1e6, args: { to } } as const;
      if (what === 'collective') return [span];
      const arrow = { cat: what, name: label, id } as const;
      return [
        span,
        { ...arrow, ph: 's', pid: STAGES, tid: from, ts: start * 1e6 },
        { ...arrow, ph: 'f', bp: 'e', pid: STAGES, tid: to, ts: end * 1e6 },
      ];
    });
  return {
    displayTimeUnit: 'ms',
    traceEvents: [
      named(STAGES, 'stages'),
      named(MESSAGES, 'messages'),
      ...tasks.map((_, stage) => row(STAGES, stage, `stage ${stage}`)),
      ...tasks.map((_, stage) => row(MESSAGES, stage, `from stage ${stage}`)),
      ...spans,
      ...messages,
    ],
  };
}
