/** Exchanges that run beside computing (docs/kernels.md): what was ordered around them stays on its side. */
import type { Node } from '../graph.js';

/** Whether an exchange is started or awaited after node `from` and before node `to`: moving one past it would undo the overlap. */
export function hasExchangeBetween(nodes: readonly Node[], from: number, to: number): boolean {
  return nodes.slice(from + 1, to).some(({ kernel }) => kernel === 'MerakWait' || kernel.endsWith('Start'));
}
