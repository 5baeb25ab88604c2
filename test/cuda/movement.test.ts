/** Copies, joins, splits, pads and reductions on the stand-in card. */
import { describe, it } from 'vitest';
import { expectAlike, type Stored, tensor } from './card.js';

const as = (shape: readonly number[], dtype: Stored = 'float32') => ({ shape, dtype });

describe('movement', () => {
  it.each(['float32', 'int32', 'bool'] as const)('transposes %s', (dtype) => {
    for (const [shape, perm] of [
      [
        [37, 70],
        [1, 0],
      ],
      [
        [3, 33, 40],
        [0, 2, 1],
      ],
      [
        [3, 4, 5, 6],
        [2, 0, 3, 1],
      ],
      [
        [2, 3, 4, 8],
        [0, 2, 1, 3],
      ],
      [
        [0, 3],
        [1, 0],
      ],
    ] as const)
      expectAlike(
        'Transpose',
        { x: tensor(shape, 1, dtype) },
        [
          as(
            perm.map((d) => shape[d]!),
            dtype,
          ),
        ],
        { perm: [...perm] },
      );
  });
  it('slices, strides, reverses, tiles, broadcasts', () => {
    const x = tensor([5, 6, 8], 1);
    expectAlike('Slice', { x }, [as([2, 3, 4])], { begin: [1, 2, 4], size: [2, 3, 4] });
    expectAlike('StridedSlice', { x }, [as([2, 6, 3])], {
      begin: [3, 0, 7],
      end: [1, 6, 1],
      strides: [-1, 1, -2],
      beginMask: 0,
      endMask: 0,
      ellipsisMask: 0,
      newAxisMask: 0,
      shrinkAxisMask: 0,
    });
    expectAlike('Reverse', { x }, [as([5, 6, 8])], { dims: [0, 2] });
    expectAlike('Tile', { x: tensor([2, 3], 1) }, [as([4, 9])], { reps: [2, 3] });
    expectAlike('BroadcastTo', { x: tensor([3, 1], 1) }, [as([2, 3, 4])], { shape: [2, 3, 4] });
  });
  it('joins, splits, pads', () => {
    const [a, b] = [tensor([3, 4, 5], 1), tensor([3, 2, 5], 2)];
    expectAlike('Concat', { 0: a, 1: b }, [as([3, 6, 5])], { axis: 1 });
    expectAlike('Pack', { 0: tensor([3, 4], 1), 1: tensor([3, 4], 2) }, [as([3, 2, 4])], { axis: 1 });
    expectAlike('SplitV', { x: a }, [as([3, 1, 5]), as([3, 3, 5])], { axis: 1, numOrSizeSplits: [1, 3] });
    expectAlike('PadV2', { x: a }, [as([4, 4, 8])], { paddings: [1, 0, 0, 0, 2, 1], constantValue: 1.5 });
    expectAlike('PadV2', { x: tensor([5], 1, 'bool') }, [as([8], 'bool')], { paddings: [1, 2], constantValue: 1 });
  });
  it.each(['float32', 'int32', 'bool'] as const)(
    'trades space for batch and depth, mirrors borders, flips: %s',
    (dtype) => {
      const batched = tensor([12, 2, 3, 5], 1, dtype);
      const block = { blockShape: [2, 3], crops: [1, 0, 2, 1] };
      expectAlike('BatchToSpaceND', { x: batched }, [as([2, 3, 6, 5], dtype)], block);
      expectAlike('SpaceToBatchND', { x: tensor([2, 3, 6, 5], 2, dtype) }, [as([12, 2, 3, 5], dtype)], {
        blockShape: block.blockShape,
        paddings: block.crops,
      });
      expectAlike('DepthToSpace', { x: tensor([2, 3, 5, 8], 3, dtype) }, [as([2, 6, 10, 2], dtype)], {
        blockSize: 2,
        dataFormat: 'NHWC',
      });
      for (const mode of ['reflect', 'symmetric'])
        expectAlike('MirrorPad', { x: tensor([4, 1, 5, 2], 4, dtype) }, [as([9, 1, 8, 4], dtype)], {
          paddings: [3, 2, 0, 0, 0, 3, 1, 1],
          mode,
        });
      expectAlike('FlipLeftRight', { image: tensor([2, 3, 4, 3], 5, dtype) }, [as([2, 3, 4, 3], dtype)]);
    },
  );
  it("takes a rank's shard, padded", () => {
    const shard = (dim: number, index: number, paddedSize: number, parts: number, out: number[]) =>
      expectAlike('MerakShard', { x: tensor([6, 7], 1) }, [as(out)], {
        axis: 'tp',
        dim,
        degree: 2,
        index,
        paddedSize,
        parts,
      });
    shard(0, 1, 6, 1, [3, 7]);
    shard(1, 1, 8, 1, [6, 4]);
    expectAlike('MerakShard', { x: tensor([2, 12, 3], 1) }, [as([2, 6, 3])], {
      axis: 'tp',
      dim: 1,
      degree: 2,
      index: 1,
      parts: 3,
    });
  });
  it('assigns and accumulates', () => {
    const x = tensor([1003], 1);
    expectAlike('MerakAssign', { x }, [as([1003])]);
    expectAlike('MerakAccumulate', { x }, [as([1003])], {}, { options: { outputs: [tensor([1003], 2).data] } });
  });
});

describe('reductions', () => {
  it.each(['Sum', 'Mean', 'Max', 'Min', 'Prod'])('%s', (kernel) => {
    const attr = kernel === 'Max' ? 'reductionIndices' : 'axis';
    const gentle = kernel === 'Prod' ? 0.2 : 1;
    for (const [shape, axes] of [
      [[7, 33], [1]],
      [[300, 5], [0]],
      [[3, 40, 34], [1]],
      [
        [3, 4, 5, 6],
        [0, 2],
      ],
      [[9001], [0]],
      [
        [2, 700, 3],
        [0, 1],
      ],
      [[4, 5], []],
      [[0, 5], [1]],
    ] as const) {
      const x = tensor(shape, 1, 'float32', gentle);
      if (kernel === 'Prod') for (let i = 0; i < x.data.length; i++) x.data[i] = 1 + x.data[i]! * 0.01;
      const out = shape.filter((_, d) => !(axes as readonly number[]).includes(d));
      expectAlike(kernel, { x }, [as(out)], { [attr]: [...axes] });
    }
    const dtype = kernel === 'Mean' ? 'float32' : 'int32';
    expectAlike(kernel, { x: tensor([6, 7], 3, 'int32', 4) }, [as([6], dtype)], { [attr]: [1] });
  });
  it.each(['All', 'Any'])('%s', (kernel) => {
    expectAlike(kernel, { x: tensor([9, 3], 1, 'bool') }, [as([9], 'bool')], { axis: [1] });
  });
  it('keeps NaN', () => {
    for (const kernel of ['Max', 'Min', 'Sum']) {
      const x = tensor([4, 50], 1);
      x.data[70] = NaN;
      x.data[110] = Infinity;
      expectAlike(kernel, { x }, [as([4])], kernel === 'Max' ? { reductionIndices: [1] } : { axis: [1] });
    }
  });
  it('softmax and its logarithm', () => {
    for (const width of [5, 200, 1500]) {
      expectAlike('Softmax', { logits: tensor([6, width], 1, 'float32', 4) }, [as([6, width])], { dim: -1 });
      expectAlike('LogSoftmax', { logits: tensor([6, width], 1, 'float32', 4) }, [as([6, width])], { axis: -1 });
    }
  });
});
