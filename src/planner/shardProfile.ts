/** What each shard of a model costs as part of a stage: seconds of its programs, bytes it holds, what recomputing saves. */
import { differentiate } from '../autodiff/differentiate.js';
import { neededByBackward } from '../autodiff/needed.js';
import { valueBytes } from '../graph/cost.js';
import type { Graph, ValueId } from '../graph/graph.js';
import { extractStages } from '../partitioner/extractStages.js';
import { tensorType } from '../partitioner/producers.js';
import type { Shards } from '../partitioner/shardGraph.js';
import type { Stage } from '../partitioner/stage.js';
import { packMessage } from '../plan/boundaries.js';
import { lowerStage } from '../plan/lower.js';
import { packSequentially } from '../plan/memory.js';
import type { Program, WorkspaceOf } from '../plan/plan.js';
import { candidateWeights, keptAtPrice } from '../recompute/chooseKept.js';
import { type KeepProblem, keepProblem, recomputeSeconds } from '../recompute/keepProblem.js';
import { expandDerivative } from '../tensorparallel/expand.js';
import { callSeconds } from './costs/callSeconds.js';
import { type ProgramCosts, programSeconds } from './costs/programSeconds.js';
import { fuseDerivative, fuseStage, type Precision } from './fuse.js';
import { NO_WORKSPACE, type ShardWorkspace, shardWorkspace } from './shardWorkspace.js';

/** Making `bytes` again instead of keeping them, per micro-batch, takes `seconds`. */
export interface DropStep {
  readonly bytes: number;
  readonly seconds: number;
}

/** One micro-batch on one rank of the tensor axis. */
export interface ShardProfile {
  readonly forwardSeconds: number;
  readonly inputGradientSeconds: number;
  readonly weightGradientSeconds: number;
  /** Of these three: meeting the other tensor ranks. */
  readonly exchangeSeconds: number;
  /** Results of its forward pass that its backward reads. */
  readonly neededBytes: number;
  /** From keeping all to keeping nothing, cheapest per byte first. */
  readonly drops: readonly DropStep[];
  readonly receivedBytes: number;
  /** Of `receivedBytes`, what backward reads: kept, like `neededBytes`, where the shard before is on the same stage. */
  readonly receivedNeededBytes: number;
  readonly sentBytes: number;
  readonly receivedGradientBytes: number;
  readonly sentGradientBytes: number;
  readonly batchBytes: number;
  readonly constantBytes: number;
  readonly scratchBytes: number;
  /** What input gradients leave for weight gradients, where those are split off. */
  readonly pendingBytes: number;
  /** Beside all these, where a device says what its kernels take: asked when first wanted, for it compiles them. */
  readonly workspace: () => ShardWorkspace;
  /** Indices into the graph's parameters. */
  readonly parameters: readonly number[];
}

type Costed = Omit<ShardProfile, 'parameters'>;

export interface ProfileOptions {
  /** Default 'f32'. */
  readonly precision?: Precision | undefined;
  /** Default: kernels take nothing. */
  readonly workspaceOf?: WorkspaceOf | undefined;
  /** As in `PlanInput`. Default false. */
  readonly fusesChains?: boolean | undefined;
}

/** Each kind of shard is differentiated and lowered once: the layers of a model are mostly alike. `local`: one tensor rank's graph. */
export function profileShards(
  local: Graph,
  shards: Shards,
  costs: ProgramCosts,
  options: ProfileOptions = {},
): ShardProfile[] {
  const cache = new Map<string, Costed>();
  const stages = extractStages(local, shards.shardOfNode, shards.numShards);
  return stages.map((stage, index) => {
    const isLast = index === stages.length - 1;
    const key = structureOf(stage, isLast);
    const known = cache.get(key) ?? profileShard(stage, isLast, costs, options);
    cache.set(key, known);
    return { ...known, parameters: stage.parameterOf };
  });
}

function profileShard(unfused: Stage, isLast: boolean, costs: ProgramCosts, options: ProfileOptions): Costed {
  const { precision = 'f32', workspaceOf, fusesChains } = options;
  const stage = fuseStage(unfused, fusesChains);
  const derivative = fuseDerivative(
    expandDerivative(differentiate(stage, { scalesLoss: precision === 'f16' })),
    precision,
  );
  const present = (values: readonly (ValueId | null)[]) => values.filter((value) => value !== null);
  const arriving = packMessage(derivative.graph, present(derivative.outputGradients));
  const returning = packMessage(derivative.graph, present(derivative.receivedGradients));
  const parameters = packSequentially(
    stage.graph.parameters.map(({ value }) => valueBytes(tensorType(stage.graph, value))),
  );
  const lowered = lowerStage({
    stage,
    isLast,
    results: 'metrics',
    fusesChains,
    parameters: stage.graph.parameters.map(({ trainable }, index) => {
      const offset = parameters.offsets[index] ?? 0;
      return { offset, gradientOffset: trainable ? offset : -1 };
    }),
    backward: {
      derivative,
      messages: { arriving, returning },
      saved: neededByBackward(derivative),
      splitsWeights: true,
    },
  });
  const { programs, bytes } = lowered;
  const seconds = (kind: Program['kind']) =>
    programs.reduce((sum, program) => sum + (program.kind === kind ? programSeconds(program, costs) : 0), 0);
  const meetingOnly = { ...costs, operators: { nodeSeconds: () => 0 } };
  const problem = keepProblem(derivative, (graph, node) => callSeconds(graph, node, costs));
  const readLater = programs.some(
    ({ kind, values }) => kind !== 'forward' && values.some(({ space }) => space === 'received'),
  );
  return {
    forwardSeconds: seconds('forward'),
    inputGradientSeconds: seconds('backward'),
    weightGradientSeconds: seconds('weights'),
    exchangeSeconds: programs.reduce((sum, program) => sum + programSeconds(program, meetingOnly), 0),
    neededBytes: problem.neededBytes,
    drops: dropSteps(problem),
    receivedBytes: bytes.received ?? 0,
    receivedNeededBytes: readLater ? (bytes.received ?? 0) : 0,
    sentBytes: bytes.sent ?? 0,
    receivedGradientBytes: bytes.receivedGradients ?? 0,
    sentGradientBytes: bytes.sentGradients ?? 0,
    batchBytes: bytes.batch ?? 0,
    constantBytes: bytes.constants ?? 0,
    scratchBytes: bytes.scratch ?? 0,
    pendingBytes: bytes.pending ?? 0,
    workspace: onceAsked(() =>
      workspaceOf === undefined ? NO_WORKSPACE : shardWorkspace(lowered, parameters.totalBytes, workspaceOf),
    ),
  };
}

function onceAsked<T>(ask: () => T): () => T {
  let known: T | undefined;
  return () => {
    known ??= ask();
    return known;
  };
}

/** The lower convex hull of (bytes dropped, seconds): minimum cuts at prices from dear to cheap find its corners. */
function dropSteps(problem: KeepProblem): DropStep[] {
  const total = recomputeSeconds(problem, new Set());
  if (problem.neededBytes === 0) return [];
  if (!Number.isFinite(total)) return [];
  const weights = candidateWeights(problem, { numInFlight: 2, bytes: 0 });
  const average = Math.max(total, Number.MIN_VALUE) / problem.neededBytes;
  const corners = [{ bytes: problem.neededBytes, seconds: total }];
  for (const factor of PRICES) {
    const kept = keptAtPrice(problem, weights, average * factor);
    const keptBytes = [...kept].reduce((sum, index) => sum + (weights[index] ?? 0), 0);
    corners.push({ bytes: problem.neededBytes - keptBytes, seconds: recomputeSeconds(problem, kept) });
  }
  const steps: DropStep[] = [];
  let at = { bytes: 0, seconds: 0 };
  for (;;) {
    const ahead = corners.filter(({ bytes }) => bytes > at.bytes);
    if (ahead.length === 0) return steps;
    const from = at;
    const slope = (corner: DropStep) => (corner.seconds - from.seconds) / (corner.bytes - from.bytes);
    at = ahead.reduce((best, corner) => (slope(corner) < slope(best) ? corner : best));
    steps.push({ bytes: at.bytes - from.bytes, seconds: at.seconds - from.seconds });
  }
}

/** Of the average price of a byte. */
const PRICES = [0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1, 1.5, 2.5, 5, 10, 30];

/** Everything the profile depends on; random nodes differ in their numbers only. */
function structureOf({ graph }: Stage, isLast: boolean): string {
  const value = (id: ValueId) => {
    const type = tensorType(graph, id);
    return `${type.dtype}${type.shape.join()}`;
  };
  return JSON.stringify([
    isLast,
    graph.values.map((_, id) => value(id)),
    graph.nodes.map(({ kernel, inputs, inputNames, outputs, attrs }) => [
      kernel,
      inputs,
      inputNames,
      outputs,
      { ...attrs, node: 0, seed: 0 },
    ]),
    graph.inputs,
    graph.parameters.map(({ value: id, trainable }) => [id, trainable]),
    graph.constants.map(({ value: id, data }) => [
      id,
      valueBytes(tensorType(graph, id)),
      data.length < 64 ? [...data] : 0,
    ]),
    graph.outputs,
    graph.updates,
  ]);
}
