/** Charts as SVG, by Vega-Lite. */
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';

export type Chart = TopLevelSpec;

export async function toSvg(chart: Chart): Promise<string> {
  const { spec } = compile({ background: 'white', ...chart });
  const view = new View(parse(spec), { renderer: 'none' });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
