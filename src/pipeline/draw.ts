/** A schedule as text: one row per stage, one cell per unit of time. */
import type { Schedule } from './schedule.js';
import { makespan, type TaskCosts, timeline } from './timeline.js';

export interface DrawOptions {
  /** Which virtual stages recompute; default none. */
  readonly recomputes?: readonly boolean[];
  /** Unit costs; default F 1, R 1 and B 2, or B 1 and W 1 where the schedule splits them. */
  readonly costs?: Omit<TaskCosts, 'recomputes'>;
  /** Widest line, in characters; longer timelines end in an ellipsis. Default 160. */
  readonly width?: number;
}

/**
 * Draws the timeline with unit costs: a task fills as many cells as it lasts, its label in the first, `-` after, `.`
 * where the stage is idle. The last line gives the makespan and each stage's idle time.
 */
export function drawSchedule(schedule: Schedule, options: DrawOptions = {}): string {
  const costs: TaskCosts = {
    ...(options.costs ?? unitCosts(schedule)),
    recomputes: options.recomputes ?? [],
  };
  const rows = timeline(schedule, costs);
  const total = makespan(rows);
  const cell = Math.max(...rows.flatMap((row) => row.map((task) => task.label.length))) + 1;
  const lines = rows.map((row, stage) => {
    const cells = Array.from({ length: Math.ceil(total) }, () => '.'.padEnd(cell));
    for (const task of row) {
      if (task.end === task.start) continue;
      for (let unit = Math.floor(task.start); unit < task.end; unit++) cells[unit] = '-'.repeat(cell - 1).padEnd(cell);
      cells[Math.floor(task.start)] = task.label.padEnd(cell);
    }
    return clip(`stage ${stage}  ${cells.join('').trimEnd()}`, options.width ?? 160);
  });
  const idle = rows.map((row) => total - row.reduce((busy, task) => busy + task.end - task.start, 0));
  return [...lines, `${schedule.name}: ${short(total)} units; idle per stage ${idle.map(short).join(' ')}`].join('\n');
}

function unitCosts(schedule: Schedule): Omit<TaskCosts, 'recomputes'> {
  const splits = schedule.stages.some((tasks) => tasks.some(({ kind }) => kind === 'W'));
  return { forward: 1, recompute: 1, ...(splits ? { backward: 1, weight: 1 } : { backward: 2 }) };
}

function clip(line: string, width: number): string {
  return line.length <= width ? line : `${line.slice(0, width - 1)}…`;
}

/** A stage's timeline as `F0@0 RB0@13 ...`, each task at its start. */
export function listTimeline(schedule: Schedule, costs: TaskCosts): string[] {
  return timeline(schedule, costs).map((row) => row.map((task) => `${task.label}@${task.start}`).join(' '));
}

/** Without the last digits of sums in floating point. */
function short(value: number): number {
  return Number(value.toPrecision(6));
}
