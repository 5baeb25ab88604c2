/** What is measured of a device: kernel calls of the sizes that training is made of. */
import { type KernelCall, kernelCall } from '../../graph/kernelCall.js';

/** All launch. */
export const LAUNCH: KernelCall = kernelCall('Add', { a: [1], b: [1] }, [[1]]);

/**
 * Sides of the square products measured: no powers of two, whose rows fall on few lines of a cache (512 ran a quarter slower
 * than 384 and 768 on a Zen 3), while most layers' do not.
 */
const PRODUCT_SIDES = [12, 24, 48, 96, 192, 384, 768] as const;
/** A layer's product forward, for its input's gradient and for its weight's: training runs each as often. */
const ORIENTATIONS = [
  { transposeA: false, transposeB: false },
  { transposeA: false, transposeB: true },
  { transposeA: true, transposeB: false },
] as const;

/** By size, each in every orientation. */
export const PRODUCTS: readonly (readonly KernelCall[])[] = PRODUCT_SIDES.map((n) => layerProducts(n, n));

/** Samples of thin products: few samples by weights of many, which are packed for the few. */
const THIN_SIDES = [3, 12, 48, 192] as const;

/** By the short side, each in every orientation. */
export const THIN_PRODUCTS: readonly { readonly side: number; readonly calls: readonly KernelCall[] }[] =
  THIN_SIDES.map((side) => ({ side, calls: layerProducts(side, 768) }));

/** Of a layer of n by n on m samples: forward, for its input's gradient, for its weight's. */
function layerProducts(m: number, n: number): KernelCall[] {
  return ORIENTATIONS.map((attrs) => {
    const [a, b, y] = attrs.transposeA ? ([m, m, n] as const) : ([m, n, m] as const);
    return kernelCall('BatchMatMul', { a: [a, n], b: [b, n] }, [[y, n]], attrs);
  });
}

/** Elements of the vectors added: from first-level cache to main memory. */
const VECTOR_LENGTHS = [1 << 10, 1 << 13, 1 << 16, 1 << 19, 1 << 22, 1 << 24] as const;

export const VECTORS: readonly KernelCall[] = VECTOR_LENGTHS.map((n) => kernelCall('Add', { a: [n], b: [n] }, [[n]]));

/** Long enough to hide the launch, short enough to stay in cache: time is arithmetic. */
export const ARITHMETIC: KernelCall = kernelCall('Tanh', { x: [1 << 13] }, [[1 << 13]]);

/** Samples, positions, heads and size of a head in the attention measured. */
const [SAMPLES, LENGTH, HEADS, SIZE] = [4, 128, 6, 64] as const;
const ROWS = [SAMPLES * LENGTH] as const;
const X = [SAMPLES * LENGTH, HEADS * SIZE] as const;
const WIDTH = [HEADS * SIZE] as const;
const PER_HEAD = [SAMPLES, LENGTH, HEADS, SIZE] as const;
const LOGSUMEXP = [SAMPLES, HEADS, LENGTH] as const;
const QKV = [SAMPLES, LENGTH, 3 * HEADS * SIZE] as const;
const CAUSAL = { causal: true, scale: 1 / Math.sqrt(SIZE) };
const PACKED = { ...CAUSAL, headShape: [...PER_HEAD] };
const LABELS = { shape: ROWS, dtype: 'int32' } as const;
const NORMED = { epsilon: 1e-5 };
/** Image side, channels in and out: from an image's colours to deep layers. */
const CONVOLUTIONS = [
  [32, 3, 32],
  [32, 16, 16],
  [16, 48, 48],
  [8, 128, 128],
] as const;
type Image = readonly [number, number, number, number];
const WINDOW = { strides: [1, 1], pad: 'same', dataFormat: 'NHWC', dilations: [1, 1] };

/** Kernels whose arithmetic is neither a plain product nor a plain sweep: each has rates of its own, by ascending channels. */
export const KERNELS: readonly KernelCall[] = [
  kernelCall('MerakAttention', { q: PER_HEAD, k: PER_HEAD, v: PER_HEAD }, [PER_HEAD, LOGSUMEXP], CAUSAL),
  kernelCall(
    'MerakAttentionGrad',
    { dy: PER_HEAD, q: PER_HEAD, k: PER_HEAD, v: PER_HEAD, out: PER_HEAD, logsumexp: LOGSUMEXP },
    [PER_HEAD, PER_HEAD, PER_HEAD],
    CAUSAL,
  ),
  kernelCall('MerakPackedAttention', { qkv: QKV }, [PER_HEAD, LOGSUMEXP], PACKED),
  kernelCall(
    'MerakPackedAttentionGrad',
    { dy: PER_HEAD, out: PER_HEAD, logsumexp: LOGSUMEXP, qkv: QKV },
    [QKV],
    PACKED,
  ),
  kernelCall('MerakGelu', { x: X }, [X], { approximate: 'tanh' }),
  kernelCall('MerakGeluGrad', { dy: X, x: X }, [X], { approximate: 'tanh' }),
  kernelCall('MerakLayerNorm', { x: X, gamma: WIDTH, beta: WIDTH }, [X, ROWS, ROWS], NORMED),
  kernelCall('MerakLayerNormGrad', { dy: X, x: X, gamma: WIDTH, mean: ROWS, rstd: ROWS }, [X, WIDTH, WIDTH]),
  kernelCall('MerakSoftmaxCrossEntropy', { logits: X, labels: LABELS }, [ROWS, ROWS], {
    vocabOffset: 0,
    vocabLimit: WIDTH[0],
  }),
  kernelCall('MerakSoftmaxCrossEntropyGrad', { dy: ROWS, logits: X, labels: LABELS, logsumexp: ROWS }, [X], {
    vocabOffset: 0,
    vocabLimit: WIDTH[0],
  }),
  kernelCall('Sum', { x: X }, [WIDTH], { axis: [0], keepDims: false }),
  ...CONVOLUTIONS.flatMap(([side, channels, filters]) => {
    const [x, y] = [channels, filters].map((depth) => [8, side, side, depth] as const) as [Image, Image];
    const filter = [3, 3, channels, filters] as const;
    return [
      kernelCall('Conv2D', { x, filter }, [y], WINDOW),
      kernelCall('Conv2DBackpropInput', { dy: y, filter }, [x], { ...WINDOW, inputShape: [...x] }),
      kernelCall('Conv2DBackpropFilter', { x, dy: y }, [filter], { ...WINDOW, filterShape: [...filter] }),
    ];
  }),
];
