/** `merak.charts`: the plots recipes draw most, as vega-lite specifications. */
import type { TopLevelSpec } from 'vega-lite';

const SCHEMA = 'https://vega.github.io/schema/vega-lite/v6.json';
const WIDTH = 480;
const HEIGHT = 300;
const PANEL_WIDTH = 240;
const PANEL_HEIGHT = 180;
const PANEL_COLUMNS = 3;

export interface Series {
  readonly name: string;
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Curves of one panel are drawn together; all in one where none is named. */
  readonly panel?: string;
}

export interface LineChart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly series: readonly Series[];
  readonly logX?: boolean;
  readonly logY?: boolean;
  /** Marks the points; for curves of few. */
  readonly points?: boolean;
}

/** Curves over one axis, one colour each. */
export function lines({ title, x, y, series, logX = false, logY = false, points = false }: LineChart): TopLevelSpec {
  const inPanels = series.some(({ panel }) => panel !== undefined);
  const values = series.flatMap(({ name, panel = '', ...one }) =>
    one.x.map((at, i) => ({ series: name, panel, x: at, y: one.y[i]! })),
  );
  const scale = (log: boolean) => (log ? { type: 'log' as const } : { zero: false });
  return {
    $schema: SCHEMA,
    title,
    width: inPanels ? PANEL_WIDTH : WIDTH,
    height: inPanels ? PANEL_HEIGHT : HEIGHT,
    background: 'white',
    data: { values: thin(values) },
    mark: { type: 'line', point: points },
    encoding: {
      x: { field: 'x', type: 'quantitative', title: x, scale: scale(logX) },
      y: { field: 'y', type: 'quantitative', title: y, scale: scale(logY) },
      color: { field: 'series', type: 'nominal', title: null, sort: null, legend: { labelLimit: 0 } },
      ...(inPanels ? { facet: { field: 'panel', title: null, sort: null, columns: PANEL_COLUMNS } } : {}),
    },
  };
}

export interface BarChart {
  readonly title: string;
  readonly y: string;
  /** One group per category, one bar in it per name. `spread` draws an error bar of that half-length. */
  readonly bars: readonly { category: string; name?: string; value: number; spread?: number }[];
}

/** Grouped bars, with error bars where a spread is given. */
export function bars({ title, y, bars: given }: BarChart): TopLevelSpec {
  const values = given.map(({ category, name = '', value, spread }) => ({
    category,
    name,
    value,
    ...(spread === undefined ? {} : { low: value - spread, high: value + spread }),
  }));
  const grouped = new Set(given.map(({ name }) => name)).size > 1;
  const encoding = {
    x: {
      field: 'category',
      type: 'nominal' as const,
      title: null,
      sort: null,
      axis: { labelAngle: -30, labelLimit: 0 },
    },
    ...(grouped ? { xOffset: { field: 'name', sort: null } } : {}),
  };
  return {
    $schema: SCHEMA,
    title,
    width: WIDTH,
    height: HEIGHT,
    background: 'white',
    data: { values },
    layer: [
      {
        mark: 'bar',
        encoding: {
          ...encoding,
          y: { field: 'value', type: 'quantitative', title: y },
          ...(grouped
            ? { color: { field: 'name', type: 'nominal', title: null, sort: null, legend: { labelLimit: 0 } } }
            : {}),
        },
      },
      ...(given.some(({ spread }) => spread !== undefined)
        ? [
            {
              mark: 'rule' as const,
              encoding: { ...encoding, y: { field: 'low', type: 'quantitative' as const }, y2: { field: 'high' } },
            },
          ]
        : []),
    ],
  };
}

/** Points, one colour per name. */
export function scatter({ title, x, y, series }: Omit<LineChart, 'points'>): TopLevelSpec {
  const spec = lines({ title, x, y, series });
  return { ...spec, mark: { type: 'point', filled: true, size: 18 } } as TopLevelSpec;
}

const MAX_POINTS = 4000;

/** An SVG of every step of a long run would be megabytes. */
function thin<T>(values: readonly T[]): T[] {
  const stride = Math.ceil(values.length / MAX_POINTS);
  return values.filter((_, i) => i % stride === 0 || i === values.length - 1);
}
