/** A graph over the tensor axis and the pipeline: one stage graph per (tp, pp). */
import type { Graph } from '../graph/graph.js';
import { assignByParameters } from '../partitioner/assignByParameters.js';
import { assignStages } from '../partitioner/assignStages.js';
import { shardCosts } from '../partitioner/costs.js';
import { extractStages } from '../partitioner/extractStages.js';
import { shardGraph } from '../partitioner/shardGraph.js';
import type { Stage } from '../partitioner/stage.js';
import type { Mesh } from '../plan/plan.js';
import { type Layout, REPLICATE } from '../tensorparallel/layout.js';
import { isSharded, localise } from '../tensorparallel/localise.js';
import { chooseLayouts } from '../tensorparallel/search.js';

export interface SplitGraph {
  /** `stages[tp][pp]`. Graphs of different tp differ in attributes and constants only. */
  readonly stages: readonly (readonly Stage[])[];
  /** Layout of each parameter, by name. */
  readonly layouts: ReadonlyMap<string, Layout>;
  /** Stages that use each parameter, by name, ascending. */
  readonly stagesOf: ReadonlyMap<string, readonly number[]>;
}

/** The training graph: layouts and stages are chosen here, by cost. */
export function splitTraining(graph: Graph, mesh: Mesh, recomputes: readonly boolean[]): SplitGraph {
  const { locals, layouts } = localGraphs(graph, mesh.tp, { training: true });
  const model = locals[0] ?? graph;
  const shards = shardGraph(model, { atLeast: mesh.pp });
  const stageOfShard = assignStages(shards, shardCosts(model, shards, recomputes), mesh.pp);
  const stageOfNode = shards.shardOfNode.map((shard) => stageOfShard[shard] ?? 0);
  return withOwners(graph, locals.map((local) => extractStages(local, stageOfNode, mesh.pp)), layouts);
}

/** Any other graph: layouts and stages follow the parameters of the training graph. */
export function splitByParameters(
  graph: Graph,
  mesh: Mesh,
  pinned: ReadonlyMap<string, Layout>,
  stagesOf: ReadonlyMap<string, readonly number[]>,
): SplitGraph {
  const names = new Set(graph.parameters.map((parameter) => parameter.name));
  const known = new Map([...pinned].filter(([name]) => names.has(name)));
  const { locals, layouts } = localGraphs(graph, mesh.tp, { training: false, pinned: known });
  const owners = graph.parameters.map((parameter) => stagesOf.get(parameter.name) ?? []);
  const { stageOfNode } = assignByParameters(locals[0] ?? graph, owners, mesh.pp);
  return withOwners(graph, locals.map((local) => extractStages(local, stageOfNode, mesh.pp)), layouts);
}

/** The user asked for the tensor axis: when nothing pays for itself, shard what can be rather than copy everything. */
function localGraphs(
  graph: Graph,
  degree: number,
  options: { readonly training: boolean; readonly pinned?: ReadonlyMap<string, Layout> },
): { locals: Graph[]; layouts: Map<string, Layout> } {
  if (degree === 1) {
    return { locals: [graph], layouts: new Map(graph.parameters.map(({ name }) => [name, REPLICATE])) };
  }
  const cheapest = chooseLayouts(graph, degree, options);
  const assignment =
    isSharded(cheapest) || options.pinned !== undefined
      ? cheapest
      : chooseLayouts(graph, degree, { ...options, prefer: 'shard' });
  return {
    locals: Array.from({ length: degree }, (_, index) => localise(graph, assignment, degree, index)),
    layouts: new Map(graph.parameters.map(({ name, value }) => [name, assignment.layouts[value] ?? REPLICATE])),
  };
}

function withOwners(graph: Graph, stages: Stage[][], layouts: ReadonlyMap<string, Layout>): SplitGraph {
  const stagesOf = graph.parameters.map(({ name }, index): [string, number[]] => [
    name,
    (stages[0] ?? []).filter((stage) => stage.parameterOf.includes(index)).map((stage) => stage.stage),
  ]);
  return { stages, layouts, stagesOf: new Map(stagesOf) };
}
