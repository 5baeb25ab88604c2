/** The price of taking a value in another layout than it has, paid once per value and form. */
import type { Graph, ValueId } from '../graph/graph.js';
import {
  allGatherSeconds,
  allReduceSeconds,
  type CostModel,
  reduceScatterSeconds,
  shardSeconds,
  valueBytes,
} from './cost.js';
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
   * Values computed from trainable parameters. Cutting one up gathers in the backward pass, so that only regions of their
   * own gain by it (sequence parallelism): otherwise the search enters sharded regions by weights only.
   */
  readonly activations: ReadonlySet<ValueId>;
  /** Whether activations may be scattered over the ranks and gathered again. */
  readonly sequenceParallel: boolean;
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
  const { degree, model, sequenceParallel } = context;
  const { shape, dtype } = context.graph.values[value] ?? { shape: [], dtype: 'float32' };
  const movable = dtype === 'float32' && !context.freeParameters.has(value);
  const bytes = valueBytes(context.graph, value);
  const gather = allGatherSeconds(bytes, degree, model);
  const scatter = reduceScatterSeconds(bytes, degree, model);
  const again = (form: Form, change: Partial<Form>): Form => {
    const { replicated, fannedOut, shardKey } = { ...form, ...change };
    return makeForm(form.native, nativeKey, replicated, fannedOut, shardKey);
  };
  if (fanOut && form.fannedOut) return { seconds: 0, form };
  if (fanOut && !form.replicated && isWhole(form.native, shape)) {
    return movable ? { seconds: gather + scatter, form: again(form, { fannedOut: true }) } : undefined;
  }
  if (layout.kind === 'shard' && sequenceParallel && form.native.kind === 'partial' && !form.replicated) {
    if (!movable || !isWhole(layout, shape)) return undefined;
    const seconds = needsGradient ? scatter + gather : scatter;
    return { seconds, form: again(form, { shardKey: `>${layoutKey}` }) };
  }
  let seconds = 0;
  if (form.native.kind !== 'replicate' && !form.replicated) {
    if (!movable) return undefined;
    seconds += form.native.kind === 'partial' ? allReduceSeconds(bytes, degree, model) : gather;
    if (form.native.kind === 'shard' && needsGradient) seconds += shardSeconds(bytes, degree, model);
  }
  const replicated = form.native.kind !== 'replicate';
  if (layout.kind === 'replicate') {
    if (fanOut) seconds += allReduceSeconds(bytes, degree, model);
    return { seconds, form: again(form, { replicated, fannedOut: fanOut || form.fannedOut }) };
  }
  if (!movable || (context.activations.has(value) && !sequenceParallel)) return undefined;
  seconds += shardSeconds(bytes, degree, model);
  if (needsGradient) seconds += gather;
  return { seconds, form: again(form, { replicated, shardKey: `>${layoutKey}` }) };
}

/** Shards without padding: what reduce-scatter and all-gather take in one exchange. */
function isWhole(layout: Layout, shape: readonly number[]): boolean {
  return layout.kind === 'shard' && layout.paddedSize === shape[layout.dim];
}
