/** Seconds of a lowered program: of exactly the kernel calls that a rank runs. */
import { valueBytes } from '../../graph/cost.js';
import type { Graph, Node } from '../../graph/graph.js';
import type { Link } from '../../pipeline/network.js';
import type { Executable, Program } from '../../plan/plan.js';
import { asGraphValue } from '../../plan/programValue.js';
import { callSeconds, isExchange, startsExchange } from './callSeconds.js';
import type { OperatorCosts } from './operatorCosts.js';

export interface ProgramCosts {
  readonly operators: OperatorCosts;
  /** Between tensor-parallel peers. */
  readonly tensorLink: Link;
  readonly tensorRanks: number;
  /** Share of an exchange in the background that the rank's own cores must do. Default 0. */
  readonly busyShare?: number;
}

/** A program as a graph, for the cost rules that read graphs. */
export function programGraph(program: Program): Graph {
  return {
    values: program.values.map(asGraphValue),
    nodes: program.nodes.map(withoutTarget),
    inputs: [],
    parameters: [],
    constants: [],
    outputs: [],
    updates: [],
  };
}

/** A product takes no longer for adding to what is there. */
function withoutTarget<N extends Pick<Node, 'attrs'>>(node: N): N {
  const { accumulate, ...attrs } = node.attrs;
  return accumulate === undefined ? node : { ...node, attrs };
}

/**
 * Exchanges that are started and awaited apart run beside computing, one at a time. An accumulation of its own
 * (plan/joinAccumulations.ts has joined the others to what they add) reads and writes its target, and an assignment copies.
 */
export function programSeconds(program: Program, costs: ProgramCosts): number {
  const graph = programGraph(program);
  const { busyShare = 0 } = costs;
  const arrivals = new Map<number, number>();
  let seconds = 0;
  let linkFree = 0;
  for (const node of graph.nodes) {
    if (startsExchange(node)) {
      const exchange = callSeconds(graph, node, costs);
      seconds += busyShare * exchange;
      linkFree = Math.max(linkFree, seconds) + (1 - busyShare) * exchange;
      arrivals.set(node.outputs[0] ?? -1, linkFree);
    } else if (node.kernel === 'MerakWait') {
      seconds = Math.max(seconds, arrivals.get(node.inputs[0] ?? -1) ?? 0);
    } else seconds += nodeSeconds(graph, node, costs) + missSeconds(program, node, costs);
  }
  return seconds;
}

/** In step with the program's nodes, each by itself: exchanges that others hide count whole. */
export function secondsByNode(program: Program, costs: ProgramCosts): number[] {
  const graph = programGraph(program);
  return graph.nodes.map((node) =>
    startsExchange(node)
      ? callSeconds(graph, node, costs)
      : nodeSeconds(graph, node, costs) + missSeconds(program, node, costs),
  );
}

/**
 * Weights and gradients of a stage are more than caches hold: each kernel finds them in main memory. A gradient that is added to is
 * read and written.
 */
function missSeconds({ values }: Program, node: Node, { operators }: ProgramCosts): number {
  if (operators.missSeconds === undefined) return 0;
  const bytesIn = (ids: readonly number[], space: Program['values'][number]['space']) =>
    [...new Set(ids)].reduce((sum, id) => {
      const value = values[id];
      return sum + (value?.space === space ? valueBytes(asGraphValue(value)) : 0);
    }, 0);
  const weights = bytesIn(node.inputs, 'parameters');
  const gradients = bytesIn(node.outputs, 'gradients');
  return operators.missSeconds(weights) + 2 * operators.missSeconds(gradients);
}

function nodeSeconds(graph: Graph, node: Node, costs: ProgramCosts): number {
  const { operators } = costs;
  if (isExchange(node)) return callSeconds(graph, node, costs);
  if (node.kernel === 'MerakAssign') return operators.nodeSeconds(graph, { ...node, kernel: 'Neg' });
  return operators.nodeSeconds(graph, node.kernel === 'MerakAccumulate' ? addTo(node) : node);
}

function addTo(node: Node): Node {
  return { ...node, kernel: 'Add', inputs: [...node.inputs, ...node.outputs], inputNames: ['a', 'b'] };
}

/** Seconds of each kind of program of an executable's chunk; 0 where it has none. */
export function executableSeconds(
  executable: Pick<Executable, 'programs'>,
  costs: ProgramCosts,
  chunk = 0,
): Readonly<Record<Program['kind'], number>> {
  const of = (kind: Program['kind']) =>
    executable.programs
      .filter((program) => program.kind === kind && (program.chunk ?? 0) === chunk)
      .reduce((sum, one) => sum + programSeconds(one, costs), 0);
  return { forward: of('forward'), recompute: of('recompute'), backward: of('backward'), weights: of('weights') };
}
