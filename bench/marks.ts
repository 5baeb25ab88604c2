/** The marks to reach on two cores, and how far the run is from each. Ratios within one run. */
import type { StartupResult } from './startup.js';
import type { Table } from './table.js';
import type { Precision, TrainingRow } from './training/result.js';

export interface Mark {
  readonly what: string;
  readonly wanted: number;
  /** Whether the figure should be at most `wanted` instead of at least. */
  readonly atMost: boolean;
  readonly unit: 'x' | '%' | 's';
  /** Undefined: what it needs was not measured in this run. */
  readonly measured: number | undefined;
}

/** `rows`: of the GPT of 10 M parameters. */
export function marksOf(rows: readonly TrainingRow[], startup: StartupResult | undefined): Mark[] {
  const find = (run: string, precision: Precision = 'f32') =>
    rows.find((row) => row.run === run && row.precision === precision);
  const one = find('1 worker, 1 thread')?.unitsPerSecond;
  const speedUp = (run: string, than = one): number | undefined => ratio(find(run)?.unitsPerSecond, than);
  const half = find('1 worker, 1 thread, half the batch')?.unitsPerSecond;
  const best = find('1 worker, 2 threads')?.unitsPerSecond;
  /** Over the fastest PyTorch there is. */
  const overTorch = (threads: 1 | 2, precision: Precision): number | undefined => {
    const rates = rows
      .filter(({ contestant }) => contestant === 'pytorch')
      .filter((row) => row.numThreads === threads && row.precision === precision)
      .map(({ unitsPerSecond }) => unitsPerSecond);
    const own = find(`1 worker, ${threads === 1 ? '1 thread' : '2 threads'}`, precision)?.unitsPerSecond;
    return ratio(own, rates.length === 0 ? undefined : Math.max(...rates));
  };
  const atLeast = (what: string, wanted: number, measured: number | undefined, unit: Mark['unit'] = 'x'): Mark => ({
    what,
    wanted,
    atMost: false,
    unit,
    measured,
  });
  const matmul = (precision: Precision): number | undefined => find('1 worker, 2 threads', precision)?.ratioToMatmul;
  /** Where oneDNN has no product of bfloat16, the fastest there is widens it: float32's rate is the limit then. */
  const bf16OverMatmul = (): Mark => {
    const what = 'bf16, 1 worker of 2 threads, over the bf16 matmul limit';
    const own = matmul('bf16');
    const [narrow, wide] = [find('1 worker, 2 threads', 'bf16'), find('1 worker, 2 threads')];
    const wideLimit = ratio(wide?.modelFlopsPerSecond, wide?.ratioToMatmul);
    return own !== undefined || narrow === undefined || wideLimit === undefined
      ? atLeast(what, 0.6, own)
      : atLeast(`${what} (no bf16 unit: the f32 one)`, 0.6, narrow.modelFlopsPerSecond / wideLimit);
  };
  return [
    atLeast('f32, 1 worker of 2 threads, over the f32 matmul limit', 0.7, matmul('f32')),
    bf16OverMatmul(),
    atLeast('dp2 over one 1-thread worker with half the batch', 1.9, speedUp('dp2', half)),
    atLeast('tp2 over one 1-thread worker, same batch', 1.7, speedUp('tp2')),
    atLeast('pp2, m=8, over one 1-thread worker, same batch', 1.75, speedUp('pp2, m=8')),
    atLeast('1 worker of 2 threads over tfjs-wasm, f32', 8, ratio(best, find('tfjs on WASM')?.unitsPerSecond)),
    ...([2, 1] as const).flatMap((threads) =>
      (['f32', 'bf16'] as const).map((precision) =>
        atLeast(
          `1 worker over the fastest PyTorch, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${precision}`,
          1.2,
          overTorch(threads, precision),
        ),
      ),
    ),
    {
      what: "launch to the first step's end, 2 workers, beyond Node's own start",
      wanted: 2,
      atMost: true,
      unit: 's',
      measured: startup === undefined ? undefined : startup.firstStepSeconds - startup.nodeSeconds,
    },
    {
      what: 'planned peak bytes against measured arenas and runtime (furthest off)',
      wanted: 2,
      atMost: true,
      unit: '%',
      measured: worstPeak(rows),
    },
  ];
}

function ratio(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a / b;
}

/** Percent by which the plan's peak differs from what was measured, in the run where it does most. */
function worstPeak(rows: readonly TrainingRow[]): number | undefined {
  const off = rows.flatMap(({ peak }) =>
    peak === undefined ? [] : [Math.abs(peak.planned / (peak.measured + peak.workspace) - 1) * 100],
  );
  return off.length === 0 ? undefined : Math.max(...off);
}

export function isReached({ wanted, atMost, measured }: Mark): boolean | undefined {
  if (measured === undefined) return undefined;
  return atMost ? measured <= wanted : measured >= wanted;
}

export function marksTable(marks: readonly Mark[]): Table {
  return {
    title: 'Marks to reach on two cores (GPT 10 M)',
    columns: ['mark', 'wanted', 'measured', ''],
    rows: marks.map((mark) => {
      const { what, wanted, atMost, unit, measured } = mark;
      const shown = (value: number) => `${value.toFixed(unit === '%' ? 1 : 2)}${unit === 'x' ? 'x' : ` ${unit}`}`;
      return [
        what,
        `${atMost ? 'at most' : 'at least'} ${shown(wanted)}`,
        measured === undefined ? '-' : shown(measured),
        verdict(mark),
      ];
    }),
    notes: [
      'Ratios are of figures of this run. A mark without a figure needs a part that was left out or could not run.',
    ],
  };
}

function verdict(mark: Mark): string {
  const { wanted, atMost, measured } = mark;
  const reached = isReached(mark);
  if (reached === undefined || measured === undefined) return 'not measured';
  if (reached) return 'reached';
  const by = atMost ? measured / wanted - 1 : 1 - measured / wanted;
  return `missed by ${(by * 100).toFixed(0)} %`;
}
