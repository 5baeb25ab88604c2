/** Runs ops on the CPU backend and holds every kernel call against its shape rule. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect } from 'vitest';
import { plainAttrs } from '../../../src/trace/attributes.js';
import { patch, patched } from '../../../src/trace/patch.js';
import { type RuleInputs, toDType } from '../../../src/trace/rules/rule.js';
import { RULES } from '../../../src/trace/rules/table.js';

/** Kernels that some test has reached. */
export const covered = new Set<string>();

type Kernel = ReturnType<typeof tf.engine>['runKernel'];

/** Runs ops on the CPU backend; every kernel call's outputs must be what its rule says. */
export function check(body: () => unknown): void {
  const engine = tf.engine();
  const checking = (run: Kernel): Kernel => {
    return (kernel, inputs, attrs) => {
      const result = run.call(engine, kernel, inputs, attrs);
      covered.add(kernel);
      const specs: RuleInputs = Object.fromEntries(
        Object.entries(inputs).flatMap(([name, tensor]) =>
          tensor == null ? [] : [[name, { shape: tensor.shape, dtype: toDType(tensor.dtype) }]],
        ),
      );
      const predicted = RULES.get(kernel)!(specs, plainAttrs(kernel, attrs));
      const brief = ({ shape, dtype }: { shape: readonly number[]; dtype: string }) => `${dtype}[${shape.join()}]`;
      const actual = Array.isArray(result) ? result.map(brief) : brief(result as tf.Tensor);
      const expected = 'shape' in predicted ? brief(predicted) : predicted.map(brief);
      expect([kernel, specs, attrs, expected]).toEqual([kernel, specs, attrs, actual]);
      return result as never;
    };
  };
  tf.tidy(() =>
    patched([() => patch(engine, 'runKernel', checking)], () => {
      body();
    }),
  );
}

/** The op and its gradient by the given tensors. */
export function checkGradient(op: (...xs: tf.Tensor[]) => tf.Tensor, ...xs: tf.Tensor[]): void {
  check(() =>
    tf.grads((...args: tf.Tensor[]) =>
      op(...args)
        .toFloat()
        .sum(),
    )(xs),
  );
}

export const dims = (minLength: number, maxLength: number) =>
  fc.array(fc.integer({ min: 1, max: 4 }), { minLength, maxLength });
export const random = (shape: readonly number[]) => tf.randomUniform([...shape], 0.1, 0.9);

export function property<T>(arbitrary: fc.Arbitrary<T>, body: (value: T) => void, numRuns = 20): void {
  fc.assert(fc.property(arbitrary, body), { numRuns });
}
