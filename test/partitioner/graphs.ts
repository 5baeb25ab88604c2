/** Random graphs made of real kernels, small enough to replay. */
import fc from 'fast-check';
import { graphBuilder } from '../../src/graph/builder.js';
import type { Graph, ValueId } from '../../src/graph/graph.js';

export const WIDTH = 4;
const BATCH = 3;

/** What one step of the generated model does: dense layer, elementwise, add of two earlier values, view, batch-only work. */
export interface Recipe {
  readonly kind: 'dense' | 'relu' | 'add' | 'reshape' | 'batch' | 'penalty' | 'state';
  readonly a: number;
  readonly b: number;
  readonly parameter: number;
}

export const recipes = fc.array(
  fc.record({
    kind: fc.constantFrom<Recipe['kind']>('dense', 'dense', 'relu', 'add', 'reshape', 'batch', 'penalty', 'state'),
    a: fc.nat(1000),
    b: fc.nat(1000),
    parameter: fc.nat(1000),
  }),
  { minLength: 2, maxLength: 14 },
);

/** Chains and branches over [3, 4] values; parameters are reused at times; ends in a scalar loss and a metric. */
export function graphOf(steps: readonly Recipe[]): Graph {
  const builder = graphBuilder();
  const matrix = { shape: [BATCH, WIDTH], dtype: 'float32', batchDim: 0 } as const;
  const scalar = { shape: [], dtype: 'float32' } as const;
  const x = builder.addInput('x', matrix);
  const y = builder.addInput('y', matrix);
  const numParameters = 1 + Math.ceil(steps.length / 3);
  const weights = Array.from({ length: numParameters }, (_, i) =>
    builder.addParameter(`w${i}`, { shape: [WIDTH, WIDTH], dtype: 'float32' }, true),
  );
  const state = builder.addParameter('state', scalar, false);
  const half = builder.addConstant(scalar, Float32Array.of(0.5));
  const call = (kernel: string, inputs: Record<string, ValueId>, type: { shape: readonly number[] }, attrs = {}) =>
    builder.addNode({
      kernel,
      inputs: Object.values(inputs),
      inputNames: Object.keys(inputs),
      outputs: [{ ...type, dtype: 'float32' }],
      attrs,
    })[0]!;
  const mean = (value: ValueId) =>
    call('Mean', { x: call('Reshape', { x: value }, { shape: [BATCH * WIDTH] }, { shape: [BATCH * WIDTH] }) }, scalar, {
      axis: 0,
      keepDims: false,
    });
  const values: ValueId[] = [x];
  const penalties: ValueId[] = [];
  let updated = false;
  for (const { kind, a, b, parameter } of steps) {
    // Mostly the newest value, sometimes an older one.
    const pick = (n: number) => (n % 3 === 0 ? values[n % values.length]! : values.at(-1)!);
    const weight = weights[parameter % weights.length]!;
    if (kind === 'dense') {
      const attrs = { transposeA: false, transposeB: false };
      values.push(call('BatchMatMul', { a: pick(a), b: weight }, matrix, attrs));
    } else if (kind === 'relu') values.push(call('Tanh', { x: pick(a) }, matrix));
    else if (kind === 'add') values.push(call('Add', { a: pick(a), b: pick(b) }, matrix));
    else if (kind === 'reshape') {
      const flat = call('Reshape', { x: pick(a) }, { shape: [BATCH * WIDTH] }, { shape: [BATCH * WIDTH] });
      values.push(call('Reshape', { x: flat }, matrix, { shape: [BATCH, WIDTH] }));
    } else if (kind === 'batch') {
      values.push(call('Multiply', { a: pick(a), b: call('Multiply', { a: y, b: half }, matrix) }, matrix));
    } else if (kind === 'penalty') {
      const square = call('Square', { x: weight }, { shape: [WIDTH, WIDTH] });
      const flat = call('Reshape', { x: square }, { shape: [WIDTH * WIDTH] }, { shape: [WIDTH * WIDTH] });
      penalties.push(call('Sum', { x: flat }, scalar, { axis: 0, keepDims: false }));
    } else if (!updated) {
      updated = true;
      const moved = call('Multiply', { a: state, b: half }, scalar);
      builder.addUpdate(numParameters, call('Add', { a: moved, b: mean(pick(a)) }, scalar));
    }
  }
  const error = call('Sub', { a: values.at(-1)!, b: y }, matrix);
  let loss = mean(call('Square', { x: error }, matrix));
  for (const penalty of penalties) loss = call('Add', { a: loss, b: penalty }, scalar);
  builder.addOutput('loss', loss);
  builder.addOutput('size', mean(values.at(-1)!));
  return builder.build();
}
