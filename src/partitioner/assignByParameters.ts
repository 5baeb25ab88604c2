/** Stages for evaluation and prediction: every node goes where training put its parameters. */
import { MerakError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { classifyNodes } from './classify.js';
import { cuttingOrder } from './order.js';
import { producersOf } from './producers.js';

export interface ParameterAssignment {
  readonly stageOfNode: readonly number[];
  /** Copies of parameters needed on stages that do not hold them yet: [parameter, stage]. */
  readonly copies: readonly (readonly [parameter: number, stage: number])[];
}

/**
 * The stage of a node is the smallest that is no earlier than any of its inputs' and holds all its parameters. Where
 * no such stage is left, the node goes to its inputs' stage and the parameter is listed in `copies`; so is a parameter
 * that no stage holds. Repeatable nodes get stage 0: `extractStages` repeats them where they are wanted.
 *
 * @param stagesOfParameter per graph.parameters: the stages that hold it, ascending (empty: none yet)
 * @throws MerakError 'plan/invalid' when a stage is out of range.
 */
export function assignByParameters(
  graph: Graph,
  stagesOfParameter: readonly (readonly number[])[],
  numStages: number,
): ParameterAssignment {
  const holders = graph.parameters.map((_, index) => new Set(stagesOfParameter[index] ?? []));
  for (const stages of holders) {
    for (const stage of stages) {
      if (stage < 0 || stage >= numStages) throw new MerakError('plan/invalid', `there is no stage ${stage}`);
    }
  }
  const classes = classifyNodes(graph);
  const producer = producersOf(graph);
  const stageOfNode = graph.nodes.map(() => 0);
  const copies: [number, number][] = [];

  for (const index of cuttingOrder(graph, classes)) {
    const node = graph.nodes[index];
    if (node === undefined || classes.classOf[index] === 'duplicable') continue;
    let earliest = 0;
    const needs = new Set<number>();
    for (const input of node.inputs) {
      const source = producer[input] ?? -1;
      const behind = classes.parametersBehind[input] ?? [];
      if (source >= 0 && classes.classOf[source] !== 'duplicable') {
        earliest = Math.max(earliest, stageOfNode[source] ?? 0);
      } else {
        for (const parameter of behind) needs.add(parameter);
      }
    }
    let stage = earliest;
    while (stage < numStages && ![...needs].every((parameter) => holds(parameter, stage))) stage++;
    if (stage === numStages) stage = earliest;
    for (const parameter of needs) {
      if (holders[parameter]?.has(stage)) continue;
      holders[parameter]?.add(stage);
      copies.push([parameter, stage]);
    }
    stageOfNode[index] = stage;
  }
  return { stageOfNode, copies };

  /** A parameter nobody holds yet fits anywhere. */
  function holds(parameter: number, stage: number): boolean {
    const stages = holders[parameter];
    return stages === undefined || stages.size === 0 || stages.has(stage);
  }
}
