/** Differentiates a stage: its nodes, followed by the nodes that carry gradients back to its parameters and inputs. */
import { MerakError } from '../errors.js';
import type { Graph, GraphParameter, Value, ValueId } from '../graph/graph.js';
import { registerGradients } from '../kernels/register.js';
import type { Stage } from '../partitioner/stage.js';
import { type BackwardBuilder, backwardBuilder } from './backwardBuilder.js';
import type { Derivative } from './derivative.js';
import { nodeGradient } from './nodeGradient.js';
import { pruneBackward } from './prune.js';
import { dependOn } from './reach.js';

export interface DifferentiateOptions {
  /** Which parameters get gradients; by default those marked trainable. Only float32 ones ever do. */
  readonly trainable?: (parameter: GraphParameter) => boolean;
  /** Per output of the stage: whether the next stage sends its gradient. By default every output a gradient can flow through. */
  readonly arriving?: readonly boolean[];
  /** Per received/k: whether the stage before wants its gradient. By default all of float32. */
  readonly wanted?: readonly boolean[];
  /** Whether the loss is multiplied by the step's loss scale, and all gradients with it. By default not. */
  readonly scalesLoss?: boolean;
}

/**
 * Reverse-mode differentiation over the stage's nodes with tfjs's gradient rules (and ours where tfjs's are wrong,
 * missing or wasteful), each recorded on proxy tensors. Raises autodiff/no-gradient where a gradient must flow through
 * a kernel that has none.
 */
export function differentiate(stage: Stage, options: DifferentiateOptions = {}): Derivative {
  registerGradients();
  const forward = stage.graph;
  const trainable = options.trainable ?? ((parameter: GraphParameter) => parameter.trainable);
  const isFloat = (id: ValueId) => typeOf(forward, id).dtype === 'float32';
  const parameters = forward.parameters.map((one) => (trainable(one) && isFloat(one.value) ? one.value : null));
  const received = forward.inputs
    .filter(({ name }) => name.startsWith('received/'))
    .map(({ value }, index) => (isFloat(value) && options.wanted?.[index] !== false ? value : null));
  const reached = dependOn(forward, [...parameters, ...received].filter(isPresent));

  const builder = backwardBuilder(forward);
  const gradients = new Map<ValueId, ValueId>();
  const accumulate = (id: ValueId, gradient: ValueId, place: { scope: string; source?: string }) => {
    if (builder.isZero(gradient)) return;
    const sum = gradients.get(id);
    gradients.set(id, sum === undefined ? gradient : builder.add(sum, gradient, place));
  };

  const outputGradients = forward.outputs.map(({ name, value }, index) => {
    if (!reached.has(value) || options.arriving?.[index] === false) return null;
    if (name.startsWith('sent/')) return builder.addInput(`gradient/${name}`, typeOf(forward, value));
    if (name === 'loss')
      accumulate(value, seed(builder, typeOf(forward, value), options.scalesLoss === true), { scope: '' });
    return null;
  });
  forward.outputs.forEach(({ value }, index) => {
    const arriving = outputGradients[index];
    if (arriving !== null && arriving !== undefined) accumulate(value, arriving, { scope: '' });
  });
  for (let index = forward.nodes.length - 1; index >= 0; index--) {
    backThrough(forward, index, reached, gradients, builder, accumulate);
  }

  const find = (id: ValueId | null) => (id === null ? null : (gradients.get(id) ?? null));
  const results = { received: received.map(find), parameters: parameters.map(find) };
  const joint: Graph = {
    ...forward,
    values: builder.values,
    nodes: builder.nodes,
    constants: builder.constants,
    inputs: builder.inputs,
  };
  const roots = [...results.received, ...results.parameters].filter(isPresent);
  const { graph, renumber } = pruneBackward(joint, forward, roots);
  const final = (id: ValueId | null) => (id === null ? null : renumber(id));
  return {
    graph,
    numForwardNodes: forward.nodes.length,
    outputGradients: outputGradients.map(final),
    receivedGradients: results.received.map(final),
    parameterGradients: results.parameters.map(final),
  };
}

function backThrough(
  forward: Graph,
  index: number,
  reached: ReadonlySet<ValueId>,
  gradients: ReadonlyMap<ValueId, ValueId>,
  builder: BackwardBuilder,
  accumulate: (id: ValueId, gradient: ValueId, place: { scope: string; source?: string }) => void,
): void {
  const node = forward.nodes[index];
  if (node === undefined || !node.outputs.some((id) => gradients.has(id))) return;
  const wanted = node.inputs.map((id) => reached.has(id));
  if (!wanted.includes(true)) return;
  const rule = nodeGradient({
    node,
    inputs: node.inputs.map((id) => typeOf(forward, id)),
    outputs: node.outputs.map((id) => typeOf(forward, id)),
    wanted,
    present: node.outputs.map((id) => gradients.has(id)),
  });
  const bindings = new Map<string, ValueId>([
    ...node.inputs.map((id, position): [string, ValueId] => [`in/${position}`, id]),
    ...node.outputs.map((id, position): [string, ValueId] => [`out/${position}`, id]),
    ...node.outputs.flatMap((id, position): [string, ValueId][] => {
      const gradient = gradients.get(id);
      return gradient === undefined ? [] : [[`dy/${position}`, gradient]];
    }),
  ]);
  const place = node.source === undefined ? { scope: node.scope } : { scope: node.scope, source: node.source };
  for (const [position, gradient] of builder.inline(rule, bindings, place)) {
    const input = node.inputs[Number(position)];
    if (input !== undefined) accumulate(input, gradient, place);
  }
}

function seed(builder: BackwardBuilder, loss: Value, isScaled: boolean): ValueId {
  if (loss.shape.length === 0) return isScaled ? builder.addLossScale() : builder.addScalar(1);
  throw new MerakError('autodiff/no-gradient', 'the loss is not a scalar', {
    expected: '[]',
    received: `[${loss.shape}]`,
  });
}

function typeOf(graph: Graph, id: ValueId): Value {
  const value = graph.values[id];
  if (value === undefined) throw new MerakError('plan/invalid', `the graph has no value ${id}`);
  return value;
}

function isPresent(id: ValueId | null): id is ValueId {
  return id !== null;
}
