/** Pass: layer normalisation, as tf.layers composes it or written out by hand, becomes MerakLayerNorm. */
import { numberAttr } from '../attrs.js';
import type { Graph, Node, Value, ValueId } from '../graph.js';
import { type Evaluator, evaluator } from './evaluate.js';
import { isCentered, meanBehind, momentsOf, throughReshapes } from './moments.js';
import { type Rewriter, rewriteGraph } from './rewrite.js';
import { eitherOrder, type GraphView, inputOf, sameShape, sizeOf, viewGraph } from './view.js';

interface Match {
  readonly x: ValueId;
  /** Values of H elements, or undefined where there is none. */
  readonly gamma: ValueId | undefined;
  readonly beta: ValueId | undefined;
  readonly epsilon: number;
}

/** Normalisation over the last dim only. An absent gamma or beta becomes a constant. */
export function raiseLayerNorm(graph: Graph): Graph {
  const constants = evaluator(viewGraph(graph));
  return rewriteGraph(graph, (node, rewriter) => {
    const match =
      node.kernel === 'FusedBatchNorm'
        ? matchTiled(rewriter.view, node)
        : node.kernel === 'Add'
          ? matchWritten(rewriter.view, constants, node)
          : undefined;
    return match === undefined ? null : [raise(node, rewriter, match)];
  });
}

function raise(node: Node, rewriter: Rewriter, { x, gamma, beta, epsilon }: Match): ValueId {
  const { shape, batchDim } = rewriter.view.value(x);
  const rowsBatch = batchDim < shape.length - 1 ? batchDim : -1;
  const rows: Value = { shape: shape.slice(0, -1), dtype: 'float32', batchDim: rowsBatch };
  const inputs = { x, gamma: asRow(rewriter, gamma, shape.at(-1)!, 1), beta: asRow(rewriter, beta, shape.at(-1)!, 0) };
  const [y] = rewriter.emit('MerakLayerNorm', inputs, { epsilon }, [{ shape, dtype: 'float32', batchDim }, rows, rows]);
  const output = rewriter.view.value(node.outputs[0]!);
  return rewriter.emitOne('Reshape', { x: y! }, { shape: output.shape }, output);
}

/** The value as [width]; a constant of `fallback` when there is none. */
function asRow(
  { view, addConstant, emitOne }: Rewriter,
  id: ValueId | undefined,
  width: number,
  fallback: number,
): ValueId {
  const row: Value = { shape: [width], dtype: 'float32', batchDim: -1 };
  if (id === undefined) return addConstant(row, new Float32Array(width).fill(fallback));
  const plain = throughReshapes(view, id);
  if (sameShape(view.value(plain).shape, row.shape)) return plain;
  return emitOne('Reshape', { x: id }, { shape: row.shape }, row);
}

/** tf.layers: moments, gamma and beta, all tiled to x's shape, go into FusedBatchNorm. */
function matchTiled(view: GraphView, node: Node): Match | undefined {
  const mean = tiledMean(view, inputOf(node, 'mean')!);
  const variance = tiledMean(view, inputOf(node, 'variance')!);
  const x = mean && variance && momentsOf(view, mean, variance);
  // The normalised tensor may be x in another shape: reshapes keep the order of the elements.
  if (x === undefined || throughReshapes(view, inputOf(node, 'x')!) !== throughReshapes(view, x)) return undefined;
  const { shape } = view.value(x);
  const [scale, offset] = [inputOf(node, 'scale'), inputOf(node, 'offset')];
  const gamma = scale === undefined ? undefined : tiledRow(view, scale, shape);
  const beta = offset === undefined ? undefined : tiledRow(view, offset, shape);
  if ((scale === undefined) !== (gamma === undefined) || (offset === undefined) !== (beta === undefined))
    return undefined;
  return { x, gamma, beta, epsilon: numberAttr(node.attrs, 'varianceEpsilon', 1e-3) };
}

/** The Mean node, over its input's last dim, that a value repeats along that dim to the input's shape. */
function tiledMean(view: GraphView, id: ValueId): Node | undefined {
  const wide = throughReshapes(view, id);
  const tile = view.producer(wide, 'Tile', 'BroadcastTo');
  const statistic = tile === undefined ? wide : inputOf(tile, 'x')!;
  const mean = meanBehind(view, statistic);
  if (mean === undefined) return undefined;
  const { shape } = view.value(mean.inputs[0]!);
  // With one feature there is nothing to tile.
  if (tile === undefined) return shape.at(-1) === 1 ? mean : undefined;
  const keepsDim = sameShape(view.value(statistic).shape, [...shape.slice(0, -1), 1]);
  return keepsDim && sameShape(view.value(wide).shape, shape) ? mean : undefined;
}

/** The value of H elements that is repeated over all leading dims of `shape`. */
function tiledRow(view: GraphView, id: ValueId, shape: readonly number[]): ValueId | undefined {
  const wide = throughReshapes(view, id);
  const tile = view.producer(wide, 'Tile', 'BroadcastTo');
  const row = tile === undefined ? wide : inputOf(tile, 'x')!;
  if (tile !== undefined && !sameShape(view.value(wide).shape, shape)) return undefined;
  return isRow(view, row, shape.at(-1)!) ? row : undefined;
}

function isRow(view: GraphView, id: ValueId, width: number): boolean {
  const { shape, dtype, batchDim } = view.value(id);
  return dtype === 'float32' && batchDim < 0 && shape.at(-1) === width && sizeOf(shape) === width;
}

/** By hand: (x - mean) / sqrt(variance + epsilon) * gamma + beta. */
function matchWritten(view: GraphView, constants: Evaluator, node: Node): Match | undefined {
  for (const [product, beta] of eitherOrder(node)) {
    const scaled = view.producer(product, 'Multiply');
    if (scaled === undefined) continue;
    for (const [normalised, gamma] of eitherOrder(scaled)) {
      const match = matchNormalised(view, constants, normalised);
      if (match === undefined) continue;
      const { shape } = view.value(match.x);
      const fits = [gamma, beta].every(
        (id) => isRow(view, id, shape.at(-1)!) && view.value(id).shape.length <= shape.length,
      );
      if (fits && sameShape(view.value(node.outputs[0]!).shape, shape)) return { ...match, gamma, beta };
    }
  }
  return undefined;
}

/** (x - mean) / sqrt(variance + epsilon), or times its reciprocal. */
function matchNormalised(view: GraphView, constants: Evaluator, id: ValueId): Pick<Match, 'x' | 'epsilon'> | undefined {
  const quotient = view.producer(id, 'RealDiv', 'Multiply');
  if (quotient === undefined) return undefined;
  const root = quotient.kernel === 'RealDiv' ? 'Sqrt' : 'Rsqrt';
  const orders = quotient.kernel === 'RealDiv' ? eitherOrder(quotient).slice(0, 1) : eitherOrder(quotient);
  for (const [centered, deviation] of orders) {
    const rooted = view.producer(deviation, root);
    const sum = rooted && view.producer(inputOf(rooted, 'x')!, 'Add');
    if (sum === undefined) continue;
    for (const [varianceValue, epsilonValue] of eitherOrder(sum)) {
      const epsilon = constants.scalarOf(epsilonValue);
      const variance = meanBehind(view, varianceValue);
      const difference = view.producer(centered, 'Sub');
      const mean = difference && meanBehind(view, inputOf(difference, 'b')!);
      if (epsilon === undefined || variance === undefined || mean === undefined) continue;
      const x = momentsOf(view, mean, variance);
      const keepsDim =
        x !== undefined && sameShape(view.value(deviation).shape, [...view.value(x).shape.slice(0, -1), 1]);
      if (keepsDim && isCentered(view, centered, x, mean)) return { x, epsilon };
    }
  }
  return undefined;
}
