/** Which nodes are tied to one stage and which may be repeated wherever their result is wanted. */

import { numElements, valueBytes } from '../graph/cost.js';
import type { Graph } from '../graph/graph.js';
import { consumersOf, producersOf, tensorType } from './producers.js';

/**
 * - `anchored`: runs on one stage; its result is sent to later ones.
 * - `duplicable`: depends on batch fields and constants alone and is cheap, or reshapes parameters: repeated on every
 *   stage that uses it.
 * - `reduction`: depends on parameters alone and gives something much smaller (a regulariser's norm): runs beside the
 *   parameters, and its small result is sent.
 */
export type NodeClass = 'anchored' | 'duplicable' | 'reduction';

export interface Classes {
  readonly classOf: readonly NodeClass[];
  /** Per value that depends on parameters alone: those parameters (indices into graph.parameters). Else empty. */
  readonly parametersBehind: readonly (readonly number[])[];
}

/** More work per output element than this is not repeated. */
const CHEAP_INPUT_ELEMENTS_PER_OUTPUT = 16;
const NEVER_REPEATED: ReadonlySet<string> = new Set(['MerakAllReduce', 'MerakAllGather']);

export function classifyNodes(graph: Graph): Classes {
  type Origin = 'batch' | 'parameter' | 'mixed';
  const origin: Origin[] = graph.values.map(() => 'batch');
  const behind: number[][] = graph.values.map(() => []);
  graph.parameters.forEach((parameter, index) => {
    origin[parameter.value] = 'parameter';
    behind[parameter.value] = [index];
  });
  const constants = new Set(graph.constants.map((constant) => constant.value));
  const producer = producersOf(graph);
  const classOf: NodeClass[] = [];

  graph.nodes.forEach((node, index) => {
    const origins = new Set(node.inputs.filter((input) => !isFixed(input)).map((input) => origin[input]));
    const parameters = origins.size === 1 && origins.has('parameter');
    const batch = origins.size === 0 || (origins.size === 1 && origins.has('batch'));
    const inputsRepeat = node.inputs.every((input) => {
      const made = producer[input] ?? -1;
      return made < 0 || classOf[made] === 'duplicable';
    });
    const cheap = isCheap(index) && !NEVER_REPEATED.has(node.kernel);
    classOf[index] = parameters || (batch && inputsRepeat && cheap) ? 'duplicable' : 'anchored';
    const union = parameters ? [...new Set(node.inputs.flatMap((input) => behind[input] ?? []))] : [];
    for (const output of node.outputs) {
      origin[output] = parameters ? 'parameter' : batch ? 'batch' : 'mixed';
      behind[output] = union;
    }
  });
  markReductions();
  return { classOf, parametersBehind: behind };

  /** Constants, and results of nodes without inputs, go with whatever they meet. */
  function isFixed(value: number): boolean {
    if (constants.has(value)) return true;
    const made = graph.nodes[producer[value] ?? -1];
    return made?.inputs.every((input) => constants.has(input)) ?? false;
  }

  function isCheap(index: number): boolean {
    const node = graph.nodes[index];
    if (node === undefined) return false;
    const elements = (ids: readonly number[]) =>
      ids.reduce((sum, id) => sum + numElements(tensorType(graph, id).shape), 0);
    return elements(node.inputs) <= CHEAP_INPUT_ELEMENTS_PER_OUTPUT * elements(node.outputs) + 4096;
  }

  /** Backwards, so that Square(W) follows Sum(Square(W)), its only reader. */
  function markReductions(): void {
    const consumers = consumersOf(graph);
    for (let index = graph.nodes.length - 1; index >= 0; index--) {
      const node = graph.nodes[index];
      const first = node?.outputs[0];
      if (node === undefined || first === undefined) continue;
      const parameters = behind[first] ?? [];
      if (classOf[index] !== 'duplicable' || parameters.length === 0) continue;
      const readers = node.outputs.flatMap((output) => consumers[output] ?? []);
      const outputBytes = node.outputs.reduce((sum, id) => sum + valueBytes(tensorType(graph, id)), 0);
      const parameterBytes = parameters.reduce((sum, parameter) => {
        const value = graph.parameters[parameter]?.value;
        return sum + (value === undefined ? 0 : valueBytes(tensorType(graph, value)));
      }, 0);
      const feedsReductions = readers.length > 0 && readers.every((reader) => classOf[reader] === 'reduction');
      if (outputBytes * 8 <= parameterBytes || feedsReductions) classOf[index] = 'reduction';
    }
  }
}
