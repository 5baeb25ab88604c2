/** A gradient that is a sum, as its terms: each is added to the parameter's gradient where it arises, and no sum is made. */
import type { Derivative } from '../autodiff/derivative.js';
import type { Node, ValueId } from '../graph/graph.js';

/**
 * Per parameter gradient, what to accumulate: the operands of the Adds that made it, as far as nothing else reads the sums.
 * Uses of one parameter (tied tables, sub-batches) meet in such sums.
 */
export function gradientTerms({ graph, numForwardNodes, ...roots }: Derivative): (readonly ValueId[])[] {
  const producer = new Map<ValueId, Node>();
  const numReaders = new Map<ValueId, number>();
  const read = (value: ValueId) => numReaders.set(value, (numReaders.get(value) ?? 0) + 1);
  for (const node of graph.nodes.slice(numForwardNodes)) {
    for (const output of node.outputs) producer.set(output, node);
    for (const input of node.inputs) read(input);
  }
  for (const value of [...roots.parameterGradients, ...roots.receivedGradients]) if (value !== null) read(value);
  const sameShape = (a: ValueId, b: ValueId) => graph.values[a]?.shape.join() === graph.values[b]?.shape.join();
  const termsOf = (value: ValueId): ValueId[] => {
    const node = producer.get(value);
    const isSum = node?.kernel === 'Add' && numReaders.get(value) === 1;
    return isSum && node.inputs.every((input) => sameShape(input, value)) ? node.inputs.flatMap(termsOf) : [value];
  };
  return roots.parameterGradients.map((value) => (value === null ? [] : termsOf(value)));
}
