/** A graph over the tensor axis and the pipeline: one stage graph per tensor rank and virtual stage. */
import { MerakError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { assignByParameters } from '../partitioner/assignByParameters.js';
import { extractStages } from '../partitioner/extractStages.js';
import { shardGraph } from '../partitioner/shardGraph.js';
import type { Stage } from '../partitioner/stage.js';
import { type ChunkLayout, numVirtualStages } from '../pipeline/virtualStages.js';
import type { Mesh } from '../plan/plan.js';
import type { Assignment } from '../tensorparallel/assignment.js';
import { type Layout, REPLICATE } from '../tensorparallel/layout.js';
import { isSharded, localise } from '../tensorparallel/localise.js';
import { chooseLayouts, type LayoutOptions, type SequenceParallel } from '../tensorparallel/search.js';
import { type Balance, balanceStages } from './balance.js';

export interface SplitGraph {
  /** `stages[tp][virtual stage]`. Graphs of different tp differ in attributes and constants only. */
  readonly stages: readonly (readonly Stage[])[];
  /** Layout of each parameter, by name. */
  readonly layouts: ReadonlyMap<string, Layout>;
  /** Virtual stages that use each parameter, by name, ascending. */
  readonly stagesOf: ReadonlyMap<string, readonly number[]>;
}

/** The training graph: layouts and stages are chosen here, by cost. */
export function splitTraining(
  graph: Graph,
  mesh: Mesh,
  balance: Balance,
  sequenceParallel: SequenceParallel = 'off',
): SplitGraph {
  const { locals, layouts } = localGraphs(graph, mesh.tp, { training: true, sequenceParallel });
  const model = locals[0] ?? graph;
  const numStages = numVirtualStages(balance.schedule);
  const shards = shardGraph(model, { atLeast: numStages });
  const stageOfShard = numStages === 1 ? [] : balanceStages(model, shards, mesh.tp, balance);
  const stageOfNode = shards.shardOfNode.map((shard) => stageOfShard[shard] ?? 0);
  return withOwners(
    graph,
    locals.map((local) => extractStages(local, stageOfNode, numStages)),
    layouts,
  );
}

/**
 * Any other graph: layouts and virtual stages follow those of the training graph. `training`: a backward pass will follow.
 */
export function splitByParameters(
  graph: Graph,
  mesh: Mesh,
  chunks: ChunkLayout,
  { layouts: pinned, stagesOf }: Pick<SplitGraph, 'layouts' | 'stagesOf'>,
  training: boolean,
  sequenceParallel: SequenceParallel = 'off',
): SplitGraph {
  const names = new Set(graph.parameters.map((parameter) => parameter.name));
  const known = new Map([...pinned].filter(([name]) => names.has(name)));
  const { locals, layouts } = localGraphs(graph, mesh.tp, { training, pinned: known, sequenceParallel });
  const owners = graph.parameters.map((parameter) => stagesOf.get(parameter.name) ?? []);
  const numStages = numVirtualStages(chunks);
  const { stageOfNode } = assignByParameters(locals[0] ?? graph, owners, numStages);
  return withOwners(
    graph,
    locals.map((local) => extractStages(local, stageOfNode, numStages)),
    layouts,
  );
}

/** The user asked for the tensor axis: when nothing pays for itself, shard what can be rather than copy everything. */
function localGraphs(
  graph: Graph,
  degree: number,
  options: Pick<LayoutOptions, 'training' | 'pinned'> & { readonly sequenceParallel: SequenceParallel },
): { locals: Graph[]; layouts: Map<string, Layout> } {
  if (degree === 1) {
    checkSequenceParallel(options.sequenceParallel, []);
    return { locals: [graph], layouts: new Map(graph.parameters.map(({ name }) => [name, REPLICATE])) };
  }
  const assignment = assignLayouts(graph, degree, options);
  const locals = Array.from({ length: degree }, (_, index) => localise(graph, assignment, degree, index));
  if (options.pinned === undefined) checkSequenceParallel(options.sequenceParallel, locals);
  return {
    locals,
    layouts: new Map(graph.parameters.map(({ name, value }) => [name, assignment.layouts[value] ?? REPLICATE])),
  };
}

/** The layouts a graph trains with on `degree` ranks of the tensor axis. */
export function assignLayouts(
  graph: Graph,
  degree: number,
  options: Pick<LayoutOptions, 'training' | 'pinned'> & { readonly sequenceParallel: SequenceParallel },
): Assignment {
  const cheapest = chooseLayouts(graph, degree, options);
  return isSharded(cheapest) || options.pinned !== undefined
    ? cheapest
    : chooseLayouts(graph, degree, { ...options, prefer: 'shard', sequenceParallel: pinnedOnly(options) });
}

/** Where nothing pays by cost, only what the user asked for is done. */
function pinnedOnly({ sequenceParallel }: { readonly sequenceParallel: SequenceParallel }): SequenceParallel {
  return sequenceParallel === 'on' ? 'on' : 'off';
}

function checkSequenceParallel(sequenceParallel: SequenceParallel, locals: readonly Graph[]): void {
  const scatters = (graph: Graph) =>
    graph.nodes.some(({ kernel, attrs }) => kernel === 'MerakReduceScatter' || attrs.spread === true);
  if (sequenceParallel !== 'on' || locals.some(scatters)) return;
  throw new MerakError('config/invalid', 'no value of this model can be split along its sequence', {
    path: 'sequenceParallel',
    expected: "'auto' or 'off'; or tp of at least 2 and a sequence length that tp divides",
    received: "'on'",
  });
}

function withOwners(graph: Graph, stages: Stage[][], layouts: ReadonlyMap<string, Layout>): SplitGraph {
  const stagesOf = graph.parameters.map(({ name }, index): [string, number[]] => [
    name,
    (stages[0] ?? []).filter((stage) => stage.parameterOf.includes(index)).map((stage) => stage.stage),
  ]);
  return { stages, layouts, stagesOf: new Map(stagesOf) };
}
