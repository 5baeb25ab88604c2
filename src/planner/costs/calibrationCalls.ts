/** What is measured of a device: kernel calls of the sizes that training is made of. */
import { type KernelCall, kernelCall } from '../../graph/kernelCall.js';

export interface CalibrationSizes {
  /** Sides of square products. */
  readonly productSides: readonly number[];
  /** Samples of thin products, few by weights of many, which are packed for the few; and the other two sides. */
  readonly thinSides: readonly number[];
  readonly thinWidth: number;
  /** Elements of the vectors added: from what fits the first cache to main memory. */
  readonly vectorLengths: readonly number[];
  /** Elements of which the time is arithmetic: enough to hide the launch, few enough to stay in cache. */
  readonly arithmeticLength: number;
  /** Samples, positions, heads and size of a head in the attention measured; rows and width of norms follow. */
  readonly attention: readonly [samples: number, length: number, heads: number, size: number];
  /** Images, then of each convolution: image side, channels in and out. */
  readonly images: number;
  readonly convolutions: readonly (readonly [side: number, channels: number, filters: number])[];
}

/**
 * Of a core. Products have no powers of two for sides: their rows fall on few lines of a cache (512 ran a quarter slower than 384 and
 * 768 on a Zen 3), while most layers' do not. Convolutions go from an image's colours to deep layers.
 */
export const CORE_SIZES: CalibrationSizes = {
  productSides: [12, 24, 48, 96, 192, 384, 768],
  thinSides: [3, 12, 48, 192],
  thinWidth: 768,
  vectorLengths: [1 << 10, 1 << 13, 1 << 16, 1 << 19, 1 << 22, 1 << 24],
  arithmeticLength: 1 << 13,
  attention: [4, 128, 6, 64],
  images: 8,
  convolutions: [
    [32, 3, 32],
    [32, 16, 16],
    [16, 48, 48],
    [8, 128, 128],
  ],
};

/** Of a GPU, which small work does not fill: products up to a large layer's, vectors up to four times its second-level cache. */
export const CARD_SIZES: CalibrationSizes = {
  productSides: [64, 128, 256, 512, 1024, 2048, 4096, 8192],
  thinSides: [8, 32, 128, 512],
  thinWidth: 4096,
  vectorLengths: [1 << 12, 1 << 15, 1 << 18, 1 << 21, 1 << 24, 1 << 26],
  arithmeticLength: 1 << 21,
  attention: [8, 1024, 12, 64],
  images: 64,
  convolutions: [
    [112, 3, 64],
    [56, 64, 64],
    [28, 128, 128],
    [14, 256, 256],
  ],
};

/** Everything that is measured of a device. */
export interface CalibrationCalls {
  /** All launch. */
  readonly launch: KernelCall;
  /** By size, each forward, for its input's gradient and for its weight's: training runs each as often. */
  readonly products: readonly (readonly KernelCall[])[];
  /** By the short side, as `products`. */
  readonly thinProducts: readonly { readonly side: number; readonly calls: readonly KernelCall[] }[];
  readonly vectors: readonly KernelCall[];
  readonly arithmetic: KernelCall;
  /** Kernels whose arithmetic is neither a plain product nor a plain sweep: each has rates of its own, by ascending channels. */
  readonly kernels: readonly KernelCall[];
}

export function calibrationCalls(sizes: CalibrationSizes): CalibrationCalls {
  const { productSides, thinSides, thinWidth, vectorLengths, arithmeticLength } = sizes;
  return {
    launch: kernelCall('Add', { a: [1], b: [1] }, [[1]]),
    products: productSides.map((n) => layerProducts(n, n)),
    thinProducts: thinSides.map((side) => ({ side, calls: layerProducts(side, thinWidth) })),
    vectors: vectorLengths.map((n) => kernelCall('Add', { a: [n], b: [n] }, [[n]])),
    arithmetic: kernelCall('Tanh', { x: [arithmeticLength] }, [[arithmeticLength]]),
    kernels: [...rowKernels(sizes.attention), ...convolutions(sizes)],
  };
}

const ORIENTATIONS = [
  { transposeA: false, transposeB: false },
  { transposeA: false, transposeB: true },
  { transposeA: true, transposeB: false },
] as const;

/** Of a layer of n by n on m samples: forward, for its input's gradient, for its weight's. */
function layerProducts(m: number, n: number): KernelCall[] {
  return ORIENTATIONS.map((attrs) => {
    const [a, b, y] = attrs.transposeA ? ([m, m, n] as const) : ([m, n, m] as const);
    return kernelCall('BatchMatMul', { a: [a, n], b: [b, n] }, [[y, n]], attrs);
  });
}

/** Of a transformer's layer. */
function rowKernels([samples, length, heads, size]: CalibrationSizes['attention']): KernelCall[] {
  const rows = [samples * length];
  const width = [heads * size];
  const x = [...rows, ...width];
  const perHead = [samples, length, heads, size];
  const logsumexp = [samples, heads, length];
  const qkv = [samples, length, 3 * heads * size];
  const causal = { causal: true, scale: 1 / Math.sqrt(size) };
  const packed = { ...causal, headShape: perHead };
  const labels = { shape: rows, dtype: 'int32' } as const;
  const vocabulary = { vocabOffset: 0, vocabLimit: heads * size };
  return [
    kernelCall('MerakAttention', { q: perHead, k: perHead, v: perHead }, [perHead, logsumexp], causal),
    kernelCall(
      'MerakAttentionGrad',
      { dy: perHead, q: perHead, k: perHead, v: perHead, out: perHead, logsumexp },
      [perHead, perHead, perHead],
      causal,
    ),
    kernelCall('MerakPackedAttention', { qkv }, [perHead, logsumexp], packed),
    kernelCall('MerakPackedAttentionGrad', { dy: perHead, out: perHead, logsumexp, qkv }, [qkv], packed),
    kernelCall('MerakGelu', { x }, [x], { approximate: 'tanh' }),
    kernelCall('MerakGeluGrad', { dy: x, x }, [x], { approximate: 'tanh' }),
    kernelCall('MerakLayerNorm', { x, gamma: width, beta: width }, [x, rows, rows], { epsilon: 1e-5 }),
    kernelCall('MerakLayerNormGrad', { dy: x, x, gamma: width, mean: rows, rstd: rows }, [x, width, width]),
    kernelCall('MerakBatchNorm', { x, gamma: width, beta: width }, [x, width, width], BATCH_NORM),
    kernelCall(
      'MerakBatchNormGrad',
      { dy: x, x, gamma: width, mean: width, variance: width, y: x },
      [x, width, width],
      BATCH_NORM,
    ),
    kernelCall('MerakSoftmaxCrossEntropy', { logits: x, labels }, [rows, rows], vocabulary),
    kernelCall('MerakSoftmaxCrossEntropyGrad', { dy: rows, logits: x, labels, logsumexp: rows }, [x], vocabulary),
    kernelCall('Sum', { x }, [width], { axis: [0], keepDims: false }),
  ];
}

const BATCH_NORM = { epsilon: 1e-3, activation: 'relu', residual: false };

type Image = [number, number, number, number];
const WINDOW = { strides: [1, 1], pad: 'same', dataFormat: 'NHWC', dilations: [1, 1] };

function convolutions({ images, convolutions: all }: CalibrationSizes): KernelCall[] {
  return all.flatMap(([side, channels, filters]) => {
    const [x, y] = [channels, filters].map((depth) => [images, side, side, depth]) as [Image, Image];
    const filter = [3, 3, channels, filters];
    return [
      kernelCall('Conv2D', { x, filter }, [y], WINDOW),
      kernelCall('Conv2DBackpropInput', { dy: y, filter }, [x], { ...WINDOW, inputShape: x }),
      kernelCall('Conv2DBackpropFilter', { x, dy: y }, [filter], { ...WINDOW, filterShape: filter }),
    ];
  });
}
