/** Gradients taken inside a jitted function, against central differences of tfjs's CPU backend, for every kernel that has one. */
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gradientRule } from '../../../src/autodiff/gradients/registry.js';
import { jit } from '../../../src/index.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import { elementwiseCases } from '../../autodiff/cases/elementwise.js';
import { movementCases } from '../../autodiff/cases/movement.js';
import { normalisationCases } from '../../autodiff/cases/normalisation.js';
import { productCases } from '../../autodiff/cases/product.js';
import { reductionCases } from '../../autodiff/cases/reduction.js';
import { spatialCases } from '../../autodiff/cases/spatial.js';
import { type Case, type Operand, spread } from '../../autodiff/finiteDifferences.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const cases: Case[] = [
  ...elementwiseCases,
  ...reductionCases,
  ...productCases,
  ...movementCases,
  ...spatialCases,
  ...normalisationCases,
].filter(({ kernel }) => gradientRule(kernel) !== undefined && kernel !== 'FloorDiv'); // its result is int32

const fallbacks = new Set<string>();

function dataOf(operand: Operand, seed: number): Float32Array {
  if (operand.values !== undefined) return Float32Array.from(operand.values);
  return spread(tf.util.sizeFromShape([...operand.shape]), operand.low ?? -2, operand.high ?? 2, seed);
}

const isDifferentiated = ({ dtype = 'float32', constant = false }: Operand) => dtype === 'float32' && !constant;

/** The sum of all float results of the kernel, each element with a weight of its own. */
function objective({ kernel, operands, attrs }: Case, inputs: readonly tf.Tensor[]): tf.Scalar {
  const listed = operands.every(({ name }, index) => name === String(index));
  const named = Object.fromEntries(operands.map(({ name }, index) => [name, inputs[index]!]));
  const given = (listed ? [...inputs] : named) as tf.NamedTensorMap;
  const result: tf.Tensor | tf.Tensor[] = tf.engine().runKernel(kernel, given, { ...attrs } as tf.NamedAttrMap);
  const outputs = (Array.isArray(result) ? result : [result]).filter(({ dtype }) => dtype === 'float32');
  const terms = outputs.map((output, index) =>
    tf.sum(tf.mul(output, tf.tensor(spread(output.size, -1, 1.2, 31 + index), output.shape))),
  );
  return terms.reduce<tf.Tensor>((sum, term) => tf.add(sum, term), tf.scalar(0)) as tf.Scalar;
}

async function gradientsOf(one: Case, inputs: readonly tf.Tensor[]): Promise<tf.Tensor[]> {
  const varied = one.operands.map(isDifferentiated);
  const f = jit(
    (all: tf.Tensor[]) => {
      const chosen = all.filter((_, index) => varied[index]);
      return tf.grads((...some: tf.Tensor[]) => {
        const rest = [...some];
        return objective(
          one,
          all.map((tensor, index) => (varied[index] ? rest.shift()! : tensor)),
        );
      })(chosen);
    },
    { threads: 1 },
  );
  const gradients = await f([...inputs]);
  for (const kernel of f.fallbackKernels) fallbacks.add(kernel);
  f.dispose();
  return gradients;
}

function differences(one: Case, data: readonly Float32Array[], index: number, step: number): Float32Array {
  const at = (values: Float32Array) =>
    tf.tidy(() => {
      const inputs = one.operands.map(({ shape, dtype = 'float32' }, other) =>
        tf.tensor(other === index ? values : data[other]!, [...shape], dtype),
      );
      return objective(one, inputs).dataSync()[0]!;
    });
  return data[index]!.map((value, i) => {
    const shifted = (delta: number) => at(data[index]!.map((old, k) => (k === i ? value + delta : old)));
    return (shifted(step) - shifted(-step)) / (2 * step);
  });
}

describe('tf.grads inside jit', () => {
  test.each(cases.map((one) => [one.title ?? one.kernel, one] as const))('%s', async (_, one) => {
    const data = one.operands.map((operand, index) => dataOf(operand, index + 1));
    const inputs = one.operands.map(({ shape, dtype = 'float32' }, index) =>
      tf.tensor(data[index]!, [...shape], dtype),
    );
    const gradients = await gradientsOf(one, inputs);
    const varied = one.operands.flatMap((operand, index) => (isDifferentiated(operand) ? [index] : []));
    for (const [position, index] of varied.entries()) {
      const gradient = gradients[position]!;
      expect(gradient.shape).toEqual([...one.operands[index]!.shape]);
      const analytic = gradient.dataSync();
      const scale = Math.max(1, ...Array.from(analytic, Math.abs));
      differences(one, data, index, 5e-3).forEach((numeric, i) => {
        const error = Math.abs(numeric - analytic[i]!) / scale;
        expect(error, `${one.operands[index]!.name}[${i}]: jit ${analytic[i]}, differences ${numeric}`).toBeLessThan(
          2e-2,
        );
      });
    }
    tf.dispose([...inputs, ...gradients]);
  });

  test('of second order', async () => {
    const f = jit((x: tf.Tensor) =>
      tf.grad((y: tf.Tensor) =>
        tf
          .grad((z: tf.Tensor) => tf.cumsum(tf.mul(z, tf.mul(z, z))).sum())(y)
          .sum(),
      )(x),
    );
    const y = await f(tf.tensor1d([1, 2, 3]));
    // The sum of cumulative sums counts element i n - i times: 6 x (n - i).
    expect(y.arraySync()).toEqual([18, 24, 18]);
    f.dispose();
  });
});

afterAll(() => {
  expect([...fallbacks]).toEqual([]);
});
