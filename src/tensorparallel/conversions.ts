/** The price of taking a value in another layout than it has, paid once per value and form. */
import type { Graph, ValueId } from '../graph/graph.js';
import { allGatherSeconds, allReduceSeconds, type CostModel, shardSeconds, valueBytes } from './cost.js';
import type { Layout } from './layout.js';

/** A live value in the search: its layout and which forms have been paid for. */
export interface Form {
  readonly native: Layout;
  readonly replicated: boolean;
  readonly fannedOut: boolean;
  /** The shard made of it, as a layout key; '' when none. */
  readonly shardKey: string;
  /** Distinguishes forms: two equal keys mean equal futures. */
  readonly key: string;
}

export interface Conversion {
  readonly seconds: number;
  readonly form: Form;
}

export interface ConversionContext {
  readonly graph: Graph;
  readonly degree: number;
  readonly model: CostModel;
  readonly needsGradient: readonly boolean[];
  /**
   * Values computed from trainable parameters. Cutting one up is legal, yet its backward gathers, so that no region gains
   * by it until a reduce-scatter joins the collectives (sequence parallelism): the search enters sharded regions by
   * weights only.
   */
  readonly activations: ReadonlySet<ValueId>;
  /** Parameters whose layout is the search's own choice: never stored in one layout only to be used in another. */
  readonly freeParameters: ReadonlySet<ValueId>;
}

export function makeForm(
  native: Layout,
  nativeKey: string,
  replicated = false,
  fannedOut = false,
  shardKey = '',
): Form {
  const key = `${nativeKey}${replicated ? '+r' : ''}${fannedOut ? '+f' : ''}${shardKey}`;
  return { native, replicated, fannedOut, shardKey, key };
}

/** Takes `value` as `layout`; undefined when no collective can do it. `spread` as in Strategy. */
export function convert(
  context: ConversionContext,
  value: ValueId,
  form: Form,
  nativeKey: string,
  layout: Layout,
  layoutKey: string,
  spread: boolean,
): Conversion | undefined {
  const needsGradient = context.needsGradient[value] === true;
  const fanOut = spread && layout.kind === 'replicate' && needsGradient;
  if (nativeKey === layoutKey && !fanOut) return { seconds: 0, form };
  if (layout.kind === 'partial') return undefined;
  if (layout.kind === 'shard' && form.shardKey === `>${layoutKey}`) return { seconds: 0, form };
  const { degree, model } = context;
  const bytes = valueBytes(context.graph, value);
  let seconds = 0;
  if (form.native.kind !== 'replicate' && !form.replicated) {
    if (context.graph.values[value]?.dtype !== 'float32' || context.freeParameters.has(value)) return undefined;
    seconds +=
      form.native.kind === 'partial' ? allReduceSeconds(bytes, degree, model) : allGatherSeconds(bytes, degree, model);
    if (form.native.kind === 'shard' && needsGradient) seconds += shardSeconds(bytes, degree, model);
  }
  const replicated = form.native.kind !== 'replicate';
  if (layout.kind === 'replicate') {
    if (fanOut && !form.fannedOut) seconds += allReduceSeconds(bytes, degree, model);
    return { seconds, form: makeForm(form.native, nativeKey, replicated, fanOut || form.fannedOut, form.shardKey) };
  }
  if (context.graph.values[value]?.dtype !== 'float32' || context.freeParameters.has(value)) return undefined;
  if (context.activations.has(value)) return undefined;
  seconds += shardSeconds(bytes, degree, model);
  if (needsGradient) seconds += allGatherSeconds(bytes, degree, model);
  return { seconds, form: makeForm(form.native, nativeKey, replicated, form.fannedOut, `>${layoutKey}`) };
}
