/** The gradient of one kernel call as a small graph, recorded on proxy tensors; equal calls share one recording. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import type { Graph, Node, Value } from '../graph/graph.js';
import { type Recorded, type Recorder, record } from '../trace/record.js';
import { gradientRule } from './gradients/registry.js';

/**
 * Inputs named `in/<i>`, `out/<i>` (the call's inputs and outputs) and `dy/<i>` (gradients of outputs); outputs named by
 * the index of the call's input whose gradient they are.
 */
export type NodeGradient = Graph;

export interface GradientRequest {
  readonly node: Node;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  /** Per input: whether its gradient is asked for. */
  readonly wanted: readonly boolean[];
  /** Per output: whether a gradient arrives; the others count as zero. */
  readonly present: readonly boolean[];
}

const recorded = new Map<string, NodeGradient>();

/** Records the gradient of `request.node`, or finds it again. Raises autodiff/no-gradient naming kernel, scope and source. */
export function nodeGradient(request: GradientRequest): NodeGradient {
  const key = keyOf(request);
  const known = recorded.get(key);
  if (known !== undefined) return known;
  const graph = recordGradient(request);
  recorded.set(key, graph);
  return graph;
}

function keyOf({ node, inputs, outputs, wanted, present }: GradientRequest): string {
  const types = [...inputs, ...outputs].map(({ shape, dtype }) => `${dtype}[${shape.join()}]`);
  return JSON.stringify([node.kernel, node.inputNames, node.attrs, types, wanted, present]);
}

function recordGradient({ node, inputs, outputs, wanted, present }: GradientRequest): NodeGradient {
  const rule = gradientRule(node.kernel);
  if (rule === undefined) throw noGradient(node, `${node.kernel} has no gradient`);
  try {
    const body = (recorder: Recorder): Recorded => {
      const input = (name: string, { shape, dtype }: Value) => recorder.input(name, shape, dtype);
      const tensors = inputs.map((value, index) => input(`in/${index}`, value));
      const results = outputs.map((value, index) => input(`out/${index}`, value));
      const dys = outputs.map((value, index) =>
        present[index] === true
          ? input(`dy/${index}`, { ...value, dtype: 'float32' })
          : tf.fill([...value.shape], 0, 'float32'),
      );
      const named = Object.fromEntries(
        node.inputNames.flatMap((name, index) => (tensors[index] ? [[name, tensors[index]]] : [])),
      );
      const gradients = rule(dys, { inputs: named, outputs: results, attrs: node.attrs });
      const asked = node.inputNames.flatMap((name, index): [string, tf.Tensor][] => {
        if (wanted[index] !== true) return [];
        const gradient = gradients[name]?.();
        if (gradient === undefined) throw noGradient(node, `${node.kernel} has no gradient for its input '${name}'`);
        checkShape(node, name, gradient, inputs[index]);
        return [[String(index), gradient]];
      });
      return { outputs: asked };
    };
    // Whose gradient it is says where it comes from.
    return record(body, { namesSources: false });
  } catch (error) {
    if (error instanceof MerakError && error.code !== 'autodiff/no-gradient') throw error;
    throw located(node, error);
  }
}

function checkShape(node: Node, name: string, gradient: tf.Tensor, value: Value | undefined): void {
  const expected = value?.shape ?? [];
  if (gradient.dtype === 'float32' && tf.util.arraysEqual(gradient.shape, [...expected])) return;
  throw new MerakError('autodiff/no-gradient', `the gradient of ${node.kernel}'s input '${name}' has the wrong type`, {
    path: placeOf(node),
    expected: `float32 [${expected}]`,
    received: `${gradient.dtype} [${gradient.shape}]`,
  });
}

function located(node: Node, error: unknown): MerakError {
  if (error instanceof MerakError && error.path !== undefined) return error;
  const reason = error instanceof Error ? error.message.replace(/^\[autodiff\/no-gradient\] /, '') : String(error);
  return noGradient(node, `cannot differentiate ${node.kernel}: ${reason}`, error);
}

function noGradient(node: Node, message: string, cause?: unknown): MerakError {
  return new MerakError('autodiff/no-gradient', message, {
    path: placeOf(node),
    hint: 'use differentiable ops on the way from parameters to the loss, or freeze the parameters before this op',
    cause,
  });
}

function placeOf(node: Node): string {
  return [node.scope || '(no layer)', ...(node.source === undefined ? [] : [node.source])].join(', ');
}
