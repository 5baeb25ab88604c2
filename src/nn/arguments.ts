/** Checks of what users pass to merak.nn. All raise config/invalid. */
import type * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';

/** `dims` has a number where the size is fixed and a letter where it is free; equal letters must agree. */
export function checkShapes(
  op: string,
  shapes: readonly [name: string, tensor: tf.Tensor, dims: readonly (number | string)[]][],
): void {
  const bound = new Map<string, number>();
  for (const [name, tensor, dims] of shapes) {
    const fits =
      tensor.rank === dims.length &&
      dims.every((dim, axis) => {
        const size = tensor.shape[axis]!;
        if (typeof dim === 'number') return dim === size;
        const known = bound.get(dim);
        if (known === undefined) bound.set(dim, size);
        return known === undefined || known === size;
      });
    if (!fits) {
      const expected = dims.map((dim) =>
        typeof dim === 'number' ? dim : `${dim}${bound.has(dim) ? `=${bound.get(dim)}` : ''}`,
      );
      throw new MerakError('config/invalid', `${op}: ${name} has the wrong shape`, {
        path: name,
        expected: `[${expected.join(', ')}]`,
        received: `[${tensor.shape.join(', ')}]`,
      });
    }
  }
}

export function checkDtype(op: string, name: string, tensor: tf.Tensor, dtype: 'float32' | 'int32'): void {
  if (tensor.dtype === dtype) return;
  throw new MerakError('config/invalid', `${op}: ${name} has the wrong dtype`, {
    path: name,
    expected: dtype,
    received: tensor.dtype,
    hint: dtype === 'int32' ? `pass ${name}.toInt()` : `pass ${name}.toFloat()`,
  });
}

export function invalid(op: string, path: string, expected: string, received: unknown): MerakError {
  return new MerakError('config/invalid', `${op}: ${path} is not valid`, {
    path,
    expected,
    received: String(received),
  });
}
