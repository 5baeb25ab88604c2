/** What a node costs: floating-point operations and bytes moved. Matrix products exactly, the rest by elements. */
import { booleanAttr, numberOrNumbersAttr, stringAttr, stringsAttr } from './attrs.js';
import type { DType, Graph, Node, Value, ValueId } from './graph.js';

export function elementBytes(dtype: DType | NonNullable<Value['storedAs']>): number {
  if (dtype === 'bfloat16' || dtype === 'float16') return 2;
  return dtype === 'bool' || dtype === 'int8' ? 1 : 4;
}

export function numElements(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

export function valueBytes(value: Value): number {
  return numElements(value.shape) * elementBytes(value.storedAs ?? value.dtype);
}

/** Bytes read and written: inputs once, outputs once; none for kernels that only rename storage. */
export function nodeBytes(graph: Graph, node: Node): number {
  if (RENAMING.has(node.kernel)) return 0;
  const { inputs, outputs } = node;
  return [...new Set(inputs), ...outputs].reduce((sum, id) => sum + valueBytes(graph.values[id]!), 0);
}

/** Multiplications and additions count one each: a product [m,k] x [k,n] is 2 m k n. */
export function nodeFlops(graph: Graph, node: Node): number {
  const shape = (name: string): readonly number[] => {
    const id: ValueId | undefined = node.inputs[node.inputNames.indexOf(name)];
    return id === undefined ? [] : graph.values[id]!.shape;
  };
  const outputSize = node.outputs.reduce((sum, id) => sum + numElements(graph.values[id]!.shape), 0);
  const exact = EXACT[node.kernel];
  if (exact !== undefined) return exact({ node, shape, outputSize });
  if (MOVING.has(node.kernel) || RENAMING.has(node.kernel)) return 0;
  const inputSize = node.inputs.reduce((max, id) => Math.max(max, numElements(graph.values[id]!.shape)), 0);
  return (PER_ELEMENT[node.kernel] ?? 1) * Math.max(inputSize, outputSize);
}

/**
 * The shortest of a product's three sides, or the fewer of a convolution's channels in and out: what keeps a product of many
 * FLOPs from running as fast as a square one. Undefined for other kernels.
 */
export function leastSide(graph: Graph, node: Node): number | undefined {
  const shape = (name: string) => graph.values[node.inputs[node.inputNames.indexOf(name)] ?? -1]?.shape ?? [];
  if (MATRIX_PRODUCTS.has(node.kernel)) {
    const inner = (booleanAttr(node.attrs, 'transposeA', false) ? shape('a').at(-2) : shape('a').at(-1)) ?? 1;
    return Math.min(inner, ...(graph.values[node.outputs[0] ?? -1]?.shape.slice(-2) ?? []));
  }
  if (!CONVOLUTIONS.has(node.kernel)) return undefined;
  const filter = node.inputNames.includes('filter') ? shape('filter') : madeFilterShape(node);
  return Math.min(...filter.slice(-2));
}

const MATRIX_PRODUCTS: ReadonlySet<string> = new Set(['BatchMatMul', '_FusedMatMul', 'MerakProduct']);
/** Convolutions that are products at every point, and their gradients. */
export const CONVOLUTIONS: ReadonlySet<string> = new Set([
  'Conv2D',
  'FusedConv2D',
  'Conv3D',
  'Conv2DBackpropInput',
  'Conv3DBackpropInputV2',
  'Conv2DBackpropFilter',
  'Conv3DBackpropFilterV2',
]);

interface Facts {
  readonly node: Node;
  readonly shape: (input: string) => readonly number[];
  readonly outputSize: number;
}

const size = numElements;

function matMulFlops({ node, shape, outputSize }: Facts): number {
  const a = shape('a');
  const inner = (booleanAttr(node.attrs, 'transposeA', false) ? a.at(-2) : a.at(-1)) ?? 1;
  return 2 * outputSize * inner;
}

/** Of the product alone; its second output, if any, is an activation of the first. */
function productFlops(facts: Facts): number {
  return matMulFlops({ ...facts, outputSize: facts.outputSize / facts.node.outputs.length });
}

/** Every output element sums a filter window over the input channels: filter [h, w, in, out]. */
function convFlops({ shape, outputSize }: Facts): number {
  const filter = shape('filter');
  return 2 * outputSize * size(filter.slice(0, -1));
}

/** Filter [h, w, in, multiplier]: one channel per output. */
function depthwiseFlops({ shape, outputSize }: Facts): number {
  return 2 * outputSize * size(shape('filter').slice(0, -2));
}

/** The gradients do as many products as the forward pass: output positions x filter. */
function convGradientFlops(filterOf: (facts: Facts) => readonly number[], channelsFree: number) {
  return (facts: Facts): number => {
    const filter = filterOf(facts);
    return 2 * size(facts.shape('dy')) * size(filter.slice(0, filter.length - channelsFree));
  };
}

const givenFilter = ({ shape }: Facts) => shape('filter');
const madeFilterShape = (node: Node) => numberOrNumbersAttr(node.attrs, 'filterShape');
const madeFilter = ({ node }: Facts) => madeFilterShape(node);

/** Scores and weighted sum: two products of Tq x Tk x d per head; half under a causal mask. */
function attentionFlops(numProducts: number) {
  return ({ node, shape }: Facts): number => {
    const [batch = 1, queries = 1, heads = 1, depth = 1] = shape('q');
    const keys = shape('k')[1] ?? 1;
    const half = booleanAttr(node.attrs, 'causal', false) ? 0.5 : 1;
    return numProducts * 2 * batch * heads * queries * keys * depth * half;
  };
}

/** The same where q, k and v lie side by side: 'headShape' says [B,T,h,d]. */
function packedAttentionFlops(numProducts: number) {
  return ({ node }: Facts): number => {
    const [batch = 1, length = 1, heads = 1, depth = 1] = numberOrNumbersAttr(node.attrs, 'headShape');
    const half = booleanAttr(node.attrs, 'causal', false) ? 0.5 : 1;
    return numProducts * 2 * batch * heads * length * length * depth * half;
  };
}

/** As one product over the output and the summed letters. */
function einsumFlops({ node, shape, outputSize }: Facts): number {
  const [terms = '', output = ''] = stringAttr(node.attrs, 'equation').replace(/\s/g, '').split('->');
  const summed = new Map<string, number>();
  terms.split(',').forEach((term, index) => {
    [...term].forEach((letter, dim) => {
      if (!output.includes(letter)) summed.set(letter, shape(String(index))[dim] ?? 1);
    });
  });
  return 2 * outputSize * size([...summed.values()]);
}

/** The steps of a chain, each by its elements, and their reduction where there is one. */
function fusedFlops({ node, outputSize }: Facts): number {
  const each = stringsAttr(node.attrs, 'kernels').reduce((sum, kernel) => sum + (PER_ELEMENT[kernel] ?? 1), 0);
  return node.attrs.reduction === undefined
    ? outputSize * each
    : size(numberOrNumbersAttr(node.attrs, 'shape', 1)) * (each + 1);
}

function windowFlops({ node, outputSize }: Facts): number {
  return outputSize * size(numberOrNumbersAttr(node.attrs, 'filterSize', 1));
}

const EXACT: Readonly<Record<string, (facts: Facts) => number>> = {
  BatchMatMul: matMulFlops,
  _FusedMatMul: matMulFlops,
  MerakProduct: productFlops,
  Einsum: einsumFlops,
  Conv2D: convFlops,
  FusedConv2D: convFlops,
  Conv3D: convFlops,
  DepthwiseConv2dNative: depthwiseFlops,
  FusedDepthwiseConv2D: depthwiseFlops,
  Conv2DBackpropInput: convGradientFlops(givenFilter, 1),
  Conv3DBackpropInputV2: convGradientFlops(givenFilter, 1),
  Conv2DBackpropFilter: convGradientFlops(madeFilter, 1),
  Conv3DBackpropFilterV2: convGradientFlops(madeFilter, 1),
  DepthwiseConv2dNativeBackpropInput: convGradientFlops(givenFilter, 2),
  DepthwiseConv2dNativeBackpropFilter: convGradientFlops(madeFilter, 2),
  MerakAttention: attentionFlops(2),
  MerakAttentionGrad: attentionFlops(5),
  MerakPackedAttention: packedAttentionFlops(2),
  MerakPackedAttentionGrad: packedAttentionFlops(5),
  MerakFused: fusedFlops,
  AvgPool: windowFlops,
  MaxPool: windowFlops,
  AvgPool3D: windowFlops,
  MaxPool3D: windowFlops,
};

/** Estimates where one operation per element says too little: transcendental functions and several sweeps. */
const PER_ELEMENT: Readonly<Record<string, number>> = {
  Exp: 8,
  Log: 8,
  Pow: 16,
  Tanh: 12,
  Sigmoid: 10,
  Erf: 12,
  Softplus: 12,
  Elu: 8,
  Selu: 8,
  Softmax: 12,
  LogSoftmax: 12,
  FusedBatchNorm: 5,
  LRN: 20,
  LRNGrad: 40,
  MerakGelu: 16,
  MerakGeluGrad: 24,
  MerakLayerNorm: 8,
  MerakLayerNormGrad: 12,
  MerakBatchNorm: 8,
  MerakBatchNormGrad: 12,
  MerakSoftmaxCrossEntropy: 12,
  MerakSoftmaxCrossEntropyGrad: 10,
  MerakShardedCrossEntropy: 10,
  MerakVocabParallelCrossEntropy: 12,
  MerakDropout: 20,
  MerakRandom: 20,
};

/** Kernels that give their input another name or shape. */
const RENAMING: ReadonlySet<string> = new Set(['Identity', 'Reshape', 'ExpandDims', 'MerakFanOut', 'MerakWait']);

/** Kernels that move data without computing on it. */
const MOVING: ReadonlySet<string> = new Set([
  'BatchToSpaceND',
  'BroadcastTo',
  'Cast',
  'Concat',
  'DepthToSpace',
  'Fill',
  'GatherNd',
  'GatherV2',
  'MerakAllGather',
  'MerakAllGatherStart',
  'MerakAllReduceStart',
  'MerakReduceScatterStart',
  'MerakEmbedding',
  'MerakShard',
  'MirrorPad',
  'OneHot',
  'OnesLike',
  'Pack',
  'PadV2',
  'Reverse',
  'Slice',
  'SpaceToBatchND',
  'SplitV',
  'StridedSlice',
  'Tile',
  'Transpose',
  'Unpack',
  'ZerosLike',
]);
