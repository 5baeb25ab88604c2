/** Runs a kernel and its gradient rule on the CPU backend and compares with central differences. */
import * as tf from '@tensorflow/tfjs';
import { gradientRule } from '../../src/autodiff/gradients/registry.js';
import type { Attrs } from '../../src/graph/graph.js';

export interface Operand {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype?: 'float32' | 'int32' | 'bool';
  /** Values; floats default to distinct ones of both signs, at least 0.1 from 0 and from each other's midpoints. */
  readonly values?: readonly number[];
  readonly low?: number;
  readonly high?: number;
  /** Not differentiated although float. */
  readonly constant?: boolean;
}

export interface Case {
  readonly kernel: string;
  readonly operands: readonly Operand[];
  readonly attrs?: Readonly<Record<string, unknown>>;
  readonly title?: string;
}

/** Distinct numbers over [low, high] in a scrambled order: no ties for max, well separated for kinks. */
export function spread(count: number, low: number, high: number, seed: number): Float32Array {
  const order = Array.from({ length: count }, (_, index) => ({
    index,
    key: (Math.sin((index + 1) * 12.9898 + seed * 78.233) * 43758.5453) % 1,
  }));
  order.sort((a, b) => a.key - b.key);
  const values = new Float32Array(count);
  order.forEach(({ index }, rank) => {
    values[index] = low + ((rank + 0.37 + ((0.07 * seed) % 0.5)) / count) * (high - low);
  });
  return values;
}

function dataOf(operand: Operand, seed: number): Float32Array {
  const count = operand.shape.reduce((total, size) => total * size, 1);
  if (operand.values !== undefined) return Float32Array.from(operand.values);
  return spread(count, operand.low ?? -2, operand.high ?? 2, seed);
}

function runKernel(test: Case, data: readonly Float32Array[]): { inputs: tf.Tensor[]; outputs: tf.Tensor[] } {
  const inputs = test.operands.map((operand, index) =>
    tf.tensor(data[index] ?? [], [...operand.shape], operand.dtype ?? 'float32'),
  );
  const listed = test.operands.every((operand, index) => operand.name === String(index));
  const named = Object.fromEntries(test.operands.map((operand, index) => [operand.name, inputs[index]]));
  const result: tf.Tensor | tf.Tensor[] = tf
    .engine()
    .runKernel(test.kernel, (listed ? inputs : named) as tf.NamedTensorMap, { ...test.attrs } as tf.NamedAttrMap);
  return { inputs, outputs: Array.isArray(result) ? result : [result] };
}

/** The largest difference between rule and central differences over all inputs, relative to the gradient's scale. */
export function gradientError(test: Case, step = 5e-3): { error: number; detail: string } {
  return tf.tidy(() => {
    const data = test.operands.map((operand, index) => dataOf(operand, index + 1));
    const { inputs, outputs } = runKernel(test, data);
    const weights = outputs.map((output, index) => spread(output.size, -1, 1.2, 31 + index));
    const dys = outputs.map((output, index) => tf.tensor(weights[index] ?? [], output.shape, 'float32'));
    const objective = (values: readonly Float32Array[]) => {
      let sum = 0;
      runKernel(test, values).outputs.forEach((output, index) => {
        const numbers = output.dataSync();
        for (let i = 0; i < numbers.length; i++)
          sum += (numbers[i] ?? 0) * (output.dtype === 'float32' ? (weights[index]?.[i] ?? 0) : 0);
      });
      return sum;
    };
    const rule = gradientRule(test.kernel);
    if (rule === undefined) throw new Error(`no rule for ${test.kernel}`);
    const named = Object.fromEntries(
      test.operands.flatMap((operand, index) => (inputs[index] ? [[operand.name, inputs[index]]] : [])),
    );
    const gradients = rule(dys, { inputs: named, outputs, attrs: (test.attrs ?? {}) as Attrs });
    let worst = { error: 0, detail: '' };
    test.operands.forEach((operand, index) => {
      if ((operand.dtype ?? 'float32') !== 'float32' || operand.constant === true) return;
      const gradient = gradients[operand.name]?.();
      const original = data[index];
      if (gradient === undefined || original === undefined) throw new Error(`no gradient for ${operand.name}`);
      if (JSON.stringify(gradient.shape) !== JSON.stringify(operand.shape)) {
        throw new Error(`gradient of ${operand.name} has shape [${gradient.shape}], expected [${operand.shape}]`);
      }
      const analytic = gradient.dataSync();
      const scale = Math.max(1, ...Array.from(analytic, Math.abs));
      for (let i = 0; i < original.length; i++) {
        const shifted = (delta: number) => {
          const copy = Float32Array.from(original);
          copy[i] = (original[i] ?? 0) + delta;
          return tf.tidy(() => objective(data.map((values, other) => (other === index ? copy : values))));
        };
        const numeric = (shifted(step) - shifted(-step)) / (2 * step);
        const error = Math.abs(numeric - (analytic[i] ?? Number.NaN)) / scale;
        if (!(error <= worst.error))
          worst = { error, detail: `${operand.name}[${i}]: rule ${analytic[i]}, differences ${numeric}` };
      }
    });
    return worst;
  });
}
