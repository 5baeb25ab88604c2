/** Images resampled, dilated and normalised over neighbouring channels on the stand-in card. */
import { describe, expect, it } from 'vitest';
import { loadAddon } from '../../src/runtime/native/addon.js';
import { expectAlike, nodeOf, type Stored, type Tensor, tensor } from './card.js';

const out = (shape: readonly number[], dtype: Stored = 'float32') => ({ shape, dtype });
const list = (shape: readonly number[], ...data: number[]): Tensor => ({
  shape,
  dtype: 'float32',
  data: Float32Array.from(data),
});

describe.each(['float32', 'int32', 'bool'] as const)('images of %s', (dtype) => {
  const image = tensor([2, 6, 5, 3], 1, dtype, 9);
  it('are cropped and resized', () => {
    const boxes = list([4, 4], 0, 0, 1, 1, 0.8, 0.1, 0.2, 0.9, -0.5, 0.3, 0.5, 1.2, 0, NaN, 1, 1);
    const boxInd: Tensor = { shape: [4], dtype: 'int32', data: Int32Array.of(1, 0, 1, 2) };
    for (const method of ['bilinear', 'nearest'])
      for (const [height, width] of [
        [4, 7],
        [1, 1],
      ] as const)
        expectAlike('CropAndResize', { image, boxes, boxInd }, [out([4, height, width, 3])], {
          method,
          cropSize: [height, width],
          extrapolationValue: 0.75,
        });
  });
  it('are turned', () => {
    for (const fillValue of [3, [1, 2, 3]])
      for (const radians of [0, Math.PI / 2, 0.7])
        for (const center of [0.5, [0.25, 0.6]])
          expectAlike('RotateWithOffset', { image }, [out(image.shape, dtype)], { radians, fillValue, center });
  });
  it('are transformed', () => {
    const turned = [0.9, -0.4, 1.5, 0.3, 1.1, -2, 0.01, -0.02];
    const far = [3, 0, -9, 0, -4, 7, 0, 0];
    for (const interpolation of ['nearest', 'bilinear'])
      for (const fillMode of ['constant', 'reflect', 'wrap', 'nearest'])
        for (const transforms of [list([1, 8], ...turned), list([2, 8], ...turned, ...far)])
          expectAlike('Transform', { image, transforms }, [out([2, 7, 4, 3], dtype)], {
            interpolation,
            fillMode,
            fillValue: 2,
            outputShape: [7, 4],
          });
  });
});

it('names an image that no box can name', () => {
  const inputs = {
    image: tensor([2, 3, 3, 1], 1),
    boxes: list([1, 4], 0, 0, 1, 1),
    boxInd: { shape: [1], dtype: 'int32', data: Int32Array.of(-1) } as Tensor,
  };
  const node = nodeOf('CropAndResize', inputs, [out([1, 2, 2, 1])], { cropSize: [2, 2], method: 'nearest' });
  const arrays = Object.values(inputs).map(({ data }) => data);
  expect(() => loadAddon().runCudaKernel(node, arrays)).toThrow('index -1 is not in [0, 2)');
});

it.each([
  { strides: [1, 1], pad: 'same', dilations: [1, 1], to: [7, 6] },
  { strides: [2, 1], pad: 'valid', dilations: [2, 1], to: [2, 5] },
])('dilation of %j', ({ to, ...attrs }) => {
  const [x, filter, dy] = [tensor([2, 7, 6, 3], 1), tensor([3, 2, 3], 2), tensor([2, ...to, 3], 3)];
  expectAlike('Dilation2D', { x, filter }, [out(dy.shape)], attrs);
  expectAlike('Dilation2DBackpropInput', { x, filter, dy }, [out(x.shape)], attrs);
  expectAlike('Dilation2DBackpropFilter', { x, filter, dy }, [out(filter.shape)], attrs);
});

it.each([1, 2, 9])('responses normalised within %j channels', (depthRadius) => {
  const attrs = { depthRadius, bias: 1.5, alpha: 0.3, beta: 0.75 };
  const [x, y, dy] = [tensor([2, 3, 2, 7], 1), tensor([2, 3, 2, 7], 2), tensor([2, 3, 2, 7], 3)];
  expectAlike('LRN', { x }, [out(x.shape)], attrs);
  expectAlike('LRNGrad', { x, y, dy }, [out(x.shape)], attrs);
});
