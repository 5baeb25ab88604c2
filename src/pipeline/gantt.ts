/** A simulation as a Gantt chart: a Vega-Lite specification, which `renderSvg` (launcher) draws. */
import type { TopLevelSpec } from 'vega-lite';
import type { Schedule } from './schedule.js';
import type { Simulation, TimedTask, VirtualStageSeconds } from './simulate.js';
import { virtualStageOf } from './virtualStages.js';

export interface GanttOptions {
  readonly title: string;
  /** Default: step, bubble and idle time. */
  readonly subtitle?: string;
  /** By virtual stage, as simulated: tells which part of an 'RB' is recomputation. */
  readonly seconds: readonly VirtualStageSeconds[];
  /** Of the time axis. Default 'units'. */
  readonly unit?: 'units' | 'seconds';
}

interface Bar {
  readonly row: string;
  readonly start: number;
  readonly end: number;
  readonly kind: string;
  /** Micro-batch, where there is room for it. */
  readonly text: string;
  readonly chunk: number;
}

const KINDS = ['forward', 'backward', 'weight gradient', 'recompute', 'send', 'reduce'] as const;
const COLOURS = ['#3b76af', '#e8833a', '#4f9d5d', '#9b74b4', '#8a8f98', '#c4464a'];
const NAMES: Readonly<Record<TimedTask['kind'], (typeof KINDS)[number]>> = {
  F: 'forward',
  B: 'backward',
  W: 'weight gradient',
  R: 'recompute',
};
const PIXELS_PER_DIGIT = 6.5;
const IDLE = '#eceef1';

/** Rows are stages, bars tasks with the number of their micro-batch; thin bars below them are messages under way. */
export function ganttSpec(simulation: Simulation, schedule: Schedule, options: GanttOptions): TopLevelSpec {
  const { stepSeconds, bubble } = simulation;
  const scale = timeScale(stepSeconds, options.unit ?? 'units');
  const numTasks = Math.max(1, ...simulation.tasks.map((row) => row.length));
  const width = Math.min(1680, Math.max(640, 26 * numTasks));
  const rowHeight = schedule.numStages <= 16 ? 30 : schedule.numStages <= 48 ? 18 : 10;
  const pixels = (seconds: number) => (seconds / (stepSeconds || 1)) * width;
  const bars = simulation.tasks.flatMap((row, stage) =>
    row.flatMap((task) => barsOf(task, stage, schedule, options.seconds)),
  );
  const shown = bars.map((bar) => ({
    ...bar,
    text: pixels(bar.end - bar.start) >= PIXELS_PER_DIGIT * bar.text.length + 2 && rowHeight >= 14 ? bar.text : '',
    start: bar.start * scale.factor,
    end: bar.end * scale.factor,
  }));
  const messages = simulation.transfers
    .filter(({ start, end }) => end > start)
    .map(({ what, from, start, end }) => ({
      row: rowName(from),
      kind: what === 'collective' ? 'reduce' : 'send',
      start: start * scale.factor,
      end: end * scale.factor,
    }));
  const rows = simulation.tasks.map((_, stage) => rowName(stage));
  const used = new Set([...shown, ...messages].map(({ kind }) => kind));
  const domain = KINDS.filter((kind) => used.has(kind));
  const numChunks = schedule.numChunks ?? 1;
  const y = { field: 'row', type: 'nominal', sort: rows, axis: { title: null, domain: false, ticks: false } } as const;
  const x = { field: 'start', type: 'quantitative', axis: { title: scale.title, grid: false, tickCount: 12 } } as const;
  const colour = {
    field: 'kind',
    type: 'nominal',
    scale: { domain, range: domain.map((kind) => COLOURS[KINDS.indexOf(kind)] ?? '#000') },
    legend: { title: null, orient: 'bottom', direction: 'horizontal', symbolType: 'square', symbolSize: 120 },
  } as const;
  const thickness = 0.72 * rowHeight;
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: {
      text: options.title,
      subtitle:
        options.subtitle ??
        `step ${format(stepSeconds * scale.factor)} ${scale.short}, bubble ${(100 * bubble).toFixed(1)} %`,
      anchor: 'start',
      fontSize: 15,
      subtitleFontSize: 12,
      subtitleColor: '#555',
      offset: 10,
    },
    width,
    height: { step: rowHeight },
    background: 'white',
    padding: 12,
    config: {
      view: { stroke: null },
      font: 'Helvetica, Arial, sans-serif',
      axis: { labelColor: '#444', titleColor: '#444' },
    },
    layer: [
      {
        data: { values: rows.map((row) => ({ row, start: 0, end: stepSeconds * scale.factor })) },
        mark: { type: 'bar', height: thickness, color: IDLE },
        encoding: {
          y,
          x: { ...x, scale: { domain: [0, stepSeconds * scale.factor], nice: false } },
          x2: { field: 'end' },
        },
      },
      {
        data: { values: shown },
        mark: { type: 'bar', height: thickness, stroke: 'white', strokeWidth: width / numTasks > 8 ? 0.8 : 0.2 },
        encoding: {
          y,
          x,
          x2: { field: 'end' },
          color: colour,
          ...(numChunks === 1
            ? {}
            : {
                opacity: {
                  field: 'chunk',
                  type: 'ordinal',
                  scale: { range: Array.from({ length: numChunks }, (_, i) => 1 - (0.5 * i) / (numChunks - 1)) },
                  legend: { title: 'chunk', orient: 'bottom', direction: 'horizontal', symbolType: 'square' },
                } as const,
              }),
        },
      },
      {
        data: {
          values: shown.filter(({ text }) => text !== '').map((bar) => ({ ...bar, middle: (bar.start + bar.end) / 2 })),
        },
        mark: { type: 'text', fontSize: rowHeight >= 24 ? 11 : 9, fontWeight: 600 },
        encoding: {
          y,
          x: { field: 'middle', type: 'quantitative' },
          text: { field: 'text', type: 'nominal' },
          color: { condition: { test: 'datum.chunk > 0', value: '#222' }, value: 'white' },
        },
      },
      {
        data: { values: messages },
        mark: { type: 'bar', height: Math.max(1.5, 0.08 * rowHeight), yOffset: thickness / 2 + 0.07 * rowHeight },
        encoding: { y, x, x2: { field: 'end' }, color: colour },
      },
    ],
  };
}

/** A backward that recomputes first is two bars. */
function barsOf(
  task: TimedTask,
  stage: number,
  schedule: Schedule,
  seconds: readonly VirtualStageSeconds[],
): readonly Bar[] {
  const { kind, micro, chunk = 0, start, end, label } = task;
  if (end <= start) return [];
  const bar = { row: rowName(stage), chunk, text: String(micro) };
  if (!label.startsWith('RB')) return [{ ...bar, kind: NAMES[kind], start, end }];
  const costs = seconds[virtualStageOf(schedule, stage, chunk)];
  const splits = schedule.stages[stage]?.some((other) => other.kind === 'W') ?? false;
  const backward = (costs?.inputGradient ?? 0) + (splits ? 0 : (costs?.weightGradient ?? 0));
  const recompute = costs?.recompute ?? 0;
  const turn = start + ((end - start) * recompute) / (recompute + backward || 1);
  return [
    { ...bar, kind: 'recompute', start, end: turn },
    { ...bar, kind: 'backward', start: turn, end },
  ];
}

function rowName(stage: number): string {
  return `stage ${stage}`;
}

interface TimeScale {
  readonly factor: number;
  readonly title: string;
  readonly short: string;
}

function timeScale(seconds: number, unit: 'units' | 'seconds'): TimeScale {
  if (unit === 'units') return { factor: 1, title: 'time units', short: 'units' };
  if (seconds >= 2) return { factor: 1, title: 'seconds', short: 's' };
  if (seconds >= 2e-3) return { factor: 1e3, title: 'milliseconds', short: 'ms' };
  return { factor: 1e6, title: 'microseconds', short: 'us' };
}

function format(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toPrecision(4);
}
