/**
 * Kernels whose output shapes depend on data. The native engine runs them in a bounded form: outputs as long as they can
 * get, filled from the front, and a count as one output more; what the count says is then cut from them.
 */
import * as tf from '@tensorflow/tfjs';
import { numberAttr, numberOrNumbersAttr } from '../../graph/attrs.js';
import type { Attrs } from '../../graph/graph.js';
import { need, type RuleInputs, type ShapeRule, shapeOf, spec, type TensorSpec } from './rule.js';

export interface DynamicRule {
  /** Outputs of the bounded form; the last is the count, an int32 scalar. */
  readonly bounded: (inputs: RuleInputs, attrs: Attrs) => readonly TensorSpec[];
  /** tfjs's outputs, given the count. Their elements are the first ones of the bounded outputs. */
  readonly actual: (inputs: RuleInputs, attrs: Attrs, count: number) => readonly TensorSpec[];
  /** Whether these attributes make tfjs's own outputs those of the bounded form. */
  readonly isStatic?: (attrs: Attrs) => boolean;
}

const COUNT = spec([], 'int32');

function suppression(withScores: boolean, withCount: boolean): DynamicRule {
  const outputs = (length: number) => [spec([length], 'int32'), ...(withScores ? [spec([length], 'float32')] : [])];
  return {
    bounded: (_, attrs) => [...outputs(numberAttr(attrs, 'maxOutputSize')), COUNT],
    actual: (_, _attrs, count) => [...outputs(count), ...(withCount ? [COUNT] : [])],
  };
}

/** The distinct slices along an axis in order of appearance, and for each slice the number of its equal. */
const unique: DynamicRule = {
  bounded: (inputs, attrs) => {
    const x = need(inputs, 'x');
    return [x, spec([x.shape[axisOf(x, attrs)] ?? 0], 'int32'), COUNT];
  },
  actual: (inputs, attrs, count) => {
    const x = need(inputs, 'x');
    const axis = axisOf(x, attrs);
    return [
      spec(
        x.shape.map((size, dim) => (dim === axis ? count : size)),
        x.dtype,
      ),
      spec([x.shape[axis] ?? 0], 'int32'),
    ];
  },
};

function axisOf(x: TensorSpec, attrs: Attrs): number {
  return tf.util.parseAxisParam(numberOrNumbersAttr(attrs, 'axis', 0), shapeOf(x))[0] ?? 0;
}

export const DYNAMIC_RULES: Readonly<Record<string, DynamicRule & { readonly bounded: ShapeRule }>> = {
  NonMaxSuppressionV3: suppression(false, false),
  NonMaxSuppressionV4: { ...suppression(false, true), isStatic: (attrs) => attrs.padToMaxOutputSize === true },
  NonMaxSuppressionV5: suppression(true, false),
  Unique: unique,
};
