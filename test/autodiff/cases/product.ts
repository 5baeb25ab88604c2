/** Matrix products. */
import type { Case } from '../finiteDifferences.js';

export const productCases: Case[] = [
  ...[false, true].flatMap((transposeA) =>
    [false, true].flatMap((transposeB) =>
      (
        [
          [[2], [2]],
          [[1], [3]],
          [[3], [1]],
          [
            [2, 3],
            [1, 3],
          ],
          [[2, 3], [3]],
        ] as [number[], number[]][]
      ).map(([left, right]) => ({
        kernel: 'BatchMatMul',
        title: `BatchMatMul ${transposeA} ${transposeB} [${left}] [${right}]`,
        operands: [
          { name: 'a', shape: [...left, ...(transposeA ? [3, 2] : [2, 3])] },
          { name: 'b', shape: [...right, ...(transposeB ? [4, 3] : [3, 4])] },
        ],
        attrs: { transposeA, transposeB },
      })),
    ),
  ),
  ...(
    [
      ['ij,jk->ik', [2, 3], [3, 2]],
      ['bij,bjk->bik', [2, 2, 3], [2, 3, 2]],
      ['abc,cde->abde', [2, 2, 3], [3, 2, 2]],
      ['ij,kj->ki', [2, 3], [4, 3]],
      ['acbe,aecd->abcd', [2, 2, 3, 2], [2, 2, 2, 3]],
      ['i,j->ij', [3], [2]],
    ] as [string, number[], number[]][]
  ).map(([equation, a, b]) => ({
    kernel: 'Einsum',
    title: `Einsum ${equation}`,
    operands: [
      { name: '0', shape: a },
      { name: '1', shape: b },
    ],
    attrs: { equation },
  })),
  ...(
    [
      ['ij->ji', [2, 3]],
      ['ijk->k', [2, 3, 2]],
    ] as [string, number[]][]
  ).map(([equation, shape]) => ({
    kernel: 'Einsum',
    title: `Einsum ${equation}`,
    operands: [{ name: '0', shape }],
    attrs: { equation },
  })),
];
