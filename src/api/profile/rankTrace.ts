/** One rank's recorded steps as Chrome trace JSON: opens in Perfetto (ui.perfetto.dev) and chrome://tracing. */
import type { ChromeTrace, TraceEvent } from '../../pipeline/chromeTrace.js';
import type { Instruction, RankPlan } from '../../plan/plan.js';
import type { Span } from '../../runtime/spans.js';
import { operationsOf } from './operation.js';
import type { RecordedStep } from './recording.js';

const ENGINE = 0;
const HELPER = 1;

type Args = Readonly<Record<string, string | number>>;
interface Label {
  readonly name: string;
  readonly cat: string;
  readonly args: Args;
}

/**
 * Two rows: the engine's thread (steps hold instructions hold operations, waits and exchanges) and the communicator's
 * helper (exchanges beside computation). `origin`: seconds on the steady clock that become time 0; the same for all ranks.
 */
export function rankTrace(plan: RankPlan, steps: readonly RecordedStep[], origin: number): ChromeTrace {
  const { rank, coordinates } = plan;
  const { pp, dp, tp } = coordinates;
  const named = (name: string, what: 'process_name' | 'thread_name', tid: number): TraceEvent => ({
    name: what,
    ph: 'M',
    pid: rank,
    tid,
    args: { name },
  });
  const events = steps.flatMap((step) => {
    const label = labeller(plan, step);
    return [...step.spans].sort(outermostFirst).map((span): TraceEvent => {
      // Whole nanoseconds, so that rounding leaves spans nested.
      const [begin, end] = [span.begin, span.end].map((seconds) => Math.round((seconds - origin) * 1e9)) as [
        number,
        number,
      ];
      const tid = span.kind === 'exchange' && span.helper ? HELPER : ENGINE;
      return { ...label(span), ph: 'X', pid: rank, tid, ts: begin / 1000, dur: (end - begin) / 1000 };
    });
  });
  return {
    displayTimeUnit: 'ms',
    traceEvents: [
      named(`rank ${rank} (pp ${pp}, dp ${dp}, tp ${tp})`, 'process_name', ENGINE),
      named('engine', 'thread_name', ENGINE),
      named('communicator', 'thread_name', HELPER),
      ...events,
    ],
  };
}

/** Viewers nest spans of equal begin in the order of the file. */
function outermostFirst(a: Span, b: Span): number {
  return a.begin - b.begin || b.end - a.end;
}

function labeller(plan: RankPlan, { executable }: RecordedStep): (span: Span) => Label {
  const operation = operationsOf(executable, plan.parameters);
  return (span) => {
    switch (span.kind) {
      case 'step':
        return { name: `step ${span.index}`, cat: 'step', args: {} };
      case 'instruction':
        return instructionLabel(executable.schedule[span.index]!);
      case 'node': {
        const { kernel, layer, shapes, flops, bytes } = operation(span);
        const seconds = span.end - span.begin;
        const rate = (count: number): Args =>
          seconds > 0 ? { 'G/s': Number((count / seconds / 1e9).toFixed(1)) } : {};
        const work: Args = flops > 0 ? { flops, ...rate(flops) } : { bytes, ...rate(bytes) };
        return { name: kernel, cat: span.program, args: { layer, shapes, ...work } };
      }
      case 'exchange': {
        const { exchange, waitSeconds, bytes } = span;
        return {
          name: exchange,
          cat: 'exchange',
          args: { ...partner(plan, exchange, span.with), bytes, 'waited ms': waitSeconds * 1e3 },
        };
      }
      case 'awaited':
        return { name: 'wait for an exchange', cat: 'wait', args: {} };
    }
  };
}

function partner(plan: RankPlan, exchange: string, id: number): Args {
  if (['send', 'receive', 'wait for the receiver'].includes(exchange)) return { peer: id };
  const group = plan.groups.find((one) => one.id === id);
  return { group: group === undefined ? String(id) : `${group.axis} [${group.ranks.join()}]` };
}

function instructionLabel(instruction: Instruction): Label {
  const label = (name: string, args: Args = {}): Label => ({ name, cat: 'instruction', args });
  const { kind } = instruction;
  if (!('micro' in instruction)) return label(kind);
  const { micro, chunk = 0 } = instruction;
  const which = chunk === 0 ? String(micro) : `${micro}.${chunk}`;
  const args = { 'micro-batch': micro, ...(chunk === 0 ? {} : { chunk }) };
  if (kind === 'send' || kind === 'receive') {
    return label(`${kind} ${instruction.what} ${which}`, { ...args, peer: instruction.peer });
  }
  return label(kind === 'handOver' ? `hand over ${instruction.what} ${which}` : `${kind} ${which}`, args);
}
