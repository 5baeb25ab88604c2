/** Pass: tfjs's inference-only fused kernels become product, bias and activation, which tfjs can differentiate. */
import { MerakError } from '../../errors.js';
import type { Graph, Node, Value, ValueId } from '../graph.js';
import { type Rewriter, rewriteGraph } from './rewrite.js';
import { inputOf } from './view.js';

/** Attributes a convolution shares with its fused form. */
const CONVOLUTION_ATTRS = ['strides', 'pad', 'dataFormat', 'dilations', 'dimRoundingMode'];

const UNARY_ACTIVATIONS: Readonly<Record<string, string>> = {
  relu: 'Relu',
  relu6: 'Relu6',
  elu: 'Elu',
  sigmoid: 'Sigmoid',
  tanh: 'Tanh',
};

/**
 * `_FusedMatMul`, `FusedConv2D` and `FusedDepthwiseConv2D` in parts. A product of single-matrix batches [1, m, k] x
 * [1, k, n] becomes a 2-D one. Raises plan/invalid on an activation tfjs does not have.
 */
export function splitFused(graph: Graph): Graph {
  return rewriteGraph(graph, (node, rewriter) => {
    switch (node.kernel) {
      case '_FusedMatMul':
        return [splitMatMul(node, rewriter)];
      case 'FusedConv2D':
        return [splitConvolution(node, rewriter, 'Conv2D')];
      case 'FusedDepthwiseConv2D':
        return [splitConvolution(node, rewriter, 'DepthwiseConv2dNative')];
      default:
        return null;
    }
  });
}

function splitMatMul(node: Node, rewriter: Rewriter): ValueId {
  const { view, emitOne } = rewriter;
  const output = view.value(node.outputs[0]!);
  const [a, b] = [inputOf(node, 'a')!, inputOf(node, 'b')!];
  const { transposeA = false, transposeB = false } = node.attrs;
  const attrs = { transposeA, transposeB };
  const isSingle = [a, b].every((id) => view.value(id).shape.length === 3 && view.value(id).shape[0] === 1);
  if (!isSingle) return finish(node, rewriter, emitOne('BatchMatMul', { a, b }, attrs, output), output);
  const flat = (id: ValueId): ValueId => {
    const value = dropLeadingDim(view.value(id));
    return emitOne('Reshape', { x: id }, { shape: value.shape }, value);
  };
  const product = dropLeadingDim(output);
  const y = finish(node, rewriter, emitOne('BatchMatMul', { a: flat(a), b: flat(b) }, attrs, product), product);
  return emitOne('Reshape', { x: y }, { shape: output.shape }, output);
}

function dropLeadingDim({ shape, dtype, batchDim }: Value): Value {
  return { shape: shape.slice(1), dtype, batchDim: batchDim > 0 ? batchDim - 1 : -1 };
}

function splitConvolution(node: Node, rewriter: Rewriter, kernel: string): ValueId {
  const output = rewriter.view.value(node.outputs[0]!);
  const attrs = Object.fromEntries(
    CONVOLUTION_ATTRS.flatMap((name) => (name in node.attrs ? [[name, node.attrs[name]!]] : [])),
  );
  const inputs = { x: inputOf(node, 'x')!, filter: inputOf(node, 'filter')! };
  return finish(node, rewriter, rewriter.emitOne(kernel, inputs, attrs, output), output);
}

/** Adds bias and activation to a product of shape `output`. */
function finish(node: Node, rewriter: Rewriter, product: ValueId, output: Value): ValueId {
  const bias = inputOf(node, 'bias');
  const sum =
    bias === undefined
      ? product
      : rewriter.emitOne('Add', { a: product, b: alignBias(node, rewriter, bias) }, {}, output);
  return activate(node, rewriter, sum, output);
}

/** A 1-D bias belongs to the channels: in NCHW it is shaped to broadcast there. */
function alignBias(node: Node, { view, emitOne }: Rewriter, bias: ValueId): ValueId {
  const { shape, dtype } = view.value(bias);
  if (node.attrs.dataFormat !== 'NCHW' || shape.length !== 1) return bias;
  const aligned = [shape[0]!, 1, 1];
  return emitOne('Reshape', { x: bias }, { shape: aligned }, { shape: aligned, dtype, batchDim: -1 });
}

function activate(node: Node, { emitOne }: Rewriter, x: ValueId, output: Value): ValueId {
  const { activation } = node.attrs;
  if (activation === undefined || activation === null || activation === 'linear') return x;
  if (activation === 'prelu') {
    return emitOne('Prelu', { x, alpha: inputOf(node, 'preluActivationWeights')! }, {}, output);
  }
  if (activation === 'leakyrelu')
    return emitOne('LeakyRelu', { x }, { alpha: node.attrs.leakyreluAlpha ?? 0.2 }, output);
  const kernel = UNARY_ACTIVATIONS[String(activation)];
  if (kernel !== undefined) return emitOne(kernel, { x }, {}, output);
  throw new MerakError('plan/invalid', `${node.kernel} has an unknown activation`, {
    path: node.scope,
    expected: 'linear, relu, relu6, elu, sigmoid, tanh, prelu or leakyrelu',
    received: String(activation),
  });
}
