/** From stage graphs to lowered stages, for training and for forward-only modes. */

import type { Derivative } from '../autodiff/derivative.js';
import { differentiate } from '../autodiff/differentiate.js';
import { MerakError } from '../errors.js';
import type { Graph, ValueId } from '../graph/graph.js';
import type { Stage } from '../partitioner/stage.js';
import { type ChunkLayout, numVirtualStages, placeOf, virtualStagesOn } from '../pipeline/virtualStages.js';
import { gradientMessages } from '../plan/boundaries.js';
import { type LoweredStage, lowerStage, type ParameterAddress } from '../plan/lower.js';
import { rankOf } from '../plan/mesh.js';
import type { Mesh, RankParameter } from '../plan/plan.js';
import { expandDerivative, expandVocabParallel } from '../tensorparallel/expand.js';
import { overlapDerivative, type SubPipelineOptions, splitStage } from '../tensorparallel/subPipeline.js';
import { fuseDerivative, fuseStage, type Precision } from './fuse.js';
import { withGlobalBatch } from './prepare.js';
import type { SplitGraph } from './split.js';

export interface LoweredModes {
  /** `lowered[tp][virtual stage]` */
  readonly lowered: readonly (readonly LoweredStage[])[];
  /** `derivatives[tp][virtual stage]`; empty when forward only. */
  readonly derivatives: readonly (readonly Derivative[])[];
}

export interface LoweringContext {
  readonly mesh: Mesh;
  /** How model chunks lie on the stages. */
  readonly layout: ChunkLayout;
  /** Per rank: its parameters and where they lie. */
  readonly rankParameters: readonly (readonly RankParameter[])[];
  readonly numMicroBatches: number;
  /** Of training; forward-only modes compute in float32. Default 'f32'. */
  readonly precision?: Precision;
  /** As in PlanInput. */
  readonly fusesChains?: boolean | undefined;
  /** Into which training splits every micro-batch. Default 1. */
  readonly numSubBatches?: number;
}

/** A stage's chunk; `lower` shows what its programs are when it keeps some values. */
export interface ChunkToKeep {
  readonly virtualStage: number;
  readonly derivative: Derivative;
  readonly lower: (saved: ReadonlySet<ValueId>) => LoweredStage;
}

/** What each chunk of a stage keeps, in step with `chunks`. */
export type KeepRule = (stage: number, chunks: readonly ChunkToKeep[]) => readonly ReadonlySet<ValueId>[];

/** Ranks of the tensor axis whose stages are the same share one derivative and one lowering. */
export function lowerTraining(
  split: SplitGraph,
  context: LoweringContext,
  keep: KeepRule,
  splitsWeights = false,
): LoweredModes {
  const derivatives: Derivative[][] = [];
  const lowered: LoweredStage[][] = [];
  const saved: ReadonlySet<ValueId>[] = [];
  split.stages.forEach((whole, tp) => {
    const stages = whole.map((stage) => fuseStage(splitStage(stage, subPipelineOf(context)), context.fusesChains));
    const twins = whole.map((stage, virtual) => twinOf(split, stage, tp, virtual));
    const column = differentiateStages(stages, context, (virtual) => derivatives[twins[virtual] ?? -1]?.[virtual]);
    const messages = gradientMessages(column);
    const lowerAs = (virtual: number, values: ReadonlySet<ValueId>): LoweredStage => {
      const [stage, derivative, message] = [stages[virtual], column[virtual], messages[virtual]];
      if (stage === undefined || derivative === undefined || message === undefined) {
        throw new MerakError('plan/invalid', `there is no stage ${virtual}`);
      }
      return lowerStage({
        stage,
        isLast: isLast(context, virtual),
        results: 'metrics',
        parameters: addressesOf(stage, context, virtual, tp),
        fusesChains: context.fusesChains,
        backward: { derivative, messages: message, saved: values, splitsWeights },
      });
    };
    derivatives.push(column);
    // Values correspond on all ranks of the tensor axis, and so does what they keep.
    if (saved.length === 0) saved.push(...keptBy(keep, context, column, lowerAs));
    lowered.push(
      column.map(
        (_, virtual) => lowered[twins[virtual] ?? -1]?.[virtual] ?? lowerAs(virtual, saved[virtual] ?? new Set()),
      ),
    );
  });
  return { lowered, derivatives };
}

/** By virtual stage. */
function keptBy(
  keep: KeepRule,
  { layout }: LoweringContext,
  derivatives: readonly Derivative[],
  lowerAs: (virtual: number, saved: ReadonlySet<ValueId>) => LoweredStage,
): ReadonlySet<ValueId>[] {
  const kept = derivatives.map((): ReadonlySet<ValueId> => new Set());
  for (let stage = 0; stage < layout.numStages; stage++) {
    const chunks = virtualStagesOn(layout, stage).flatMap((virtualStage): ChunkToKeep[] => {
      const derivative = derivatives[virtualStage];
      return derivative === undefined
        ? []
        : [{ virtualStage, derivative, lower: (saved) => lowerAs(virtualStage, saved) }];
    });
    keep(stage, chunks).forEach((values, index) => {
      const virtual = chunks[index]?.virtualStage;
      if (virtual !== undefined) kept[virtual] = values;
    });
  }
  return kept;
}

function isLast({ layout }: LoweringContext, virtual: number): boolean {
  return virtual === numVirtualStages(layout) - 1;
}

/** The first rank of the tensor axis before `tp` whose stage is the same, attributes and constants included; -1 if none. */
function twinOf(split: SplitGraph, stage: Stage, tp: number, virtual: number): number {
  const isSame = (other: Graph | undefined) =>
    other?.nodes.every((node, index) => sameAttrs(node.attrs, stage.graph.nodes[index]?.attrs)) &&
    other.constants.every(({ data }, index) => sameData(data, stage.graph.constants[index]?.data));
  return split.stages.slice(0, tp).findIndex((stages) => isSame(stages[virtual]?.graph));
}

function sameAttrs(a: object, b: object | undefined): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

function sameData(a: ArrayLike<number>, b: ArrayLike<number> | undefined): boolean {
  if (a === b) return true;
  if (b === undefined || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function lowerForward(
  split: SplitGraph,
  context: LoweringContext,
  results: 'metrics' | 'outputs',
): LoweredStage[][] {
  return split.stages.map((stages, tp) =>
    stages.map((stage, virtual) => {
      const graph = expandVocabParallel(withGlobalBatch(stage.graph, context.numMicroBatches * context.mesh.dp));
      return lowerStage({
        stage: { ...stage, graph },
        isLast: isLast(context, virtual),
        results,
        parameters: addressesOf(stage, context, virtual, tp),
        fusesChains: context.fusesChains,
      });
    }),
  );
}

/** From the last stage to the first, so that each knows which gradients will arrive. */
function differentiateStages(
  stages: readonly Stage[],
  context: LoweringContext,
  known: (virtual: number) => Derivative | undefined,
): Derivative[] {
  const derivatives: Derivative[] = [];
  let arriving: boolean[] | undefined;
  for (let virtual = stages.length - 1; virtual >= 0; virtual--) {
    const stage = stages[virtual];
    if (stage === undefined) continue;
    const derivative = known(virtual) ?? differentiateStage(stage, context, arriving);
    derivatives.unshift(derivative);
    arriving = derivative.receivedGradients.map((gradient) => gradient !== null);
  }
  return derivatives;
}

function differentiateStage(stage: Stage, context: LoweringContext, arriving: boolean[] | undefined): Derivative {
  const expanded = expandDerivative(
    differentiate(stage, { scalesLoss: context.precision === 'f16', ...(arriving !== undefined && { arriving }) }),
  );
  const graph = withGlobalBatch(expanded.graph, context.numMicroBatches * context.mesh.dp);
  const fused = fuseDerivative({ ...expanded, graph }, context.precision ?? 'f32');
  return overlapDerivative(fused, subPipelineOf(context));
}

function subPipelineOf({ mesh, numSubBatches = 1 }: LoweringContext): SubPipelineOptions {
  return { numSubBatches, degree: mesh.tp };
}

/** Offsets are alike on all replicas, so those of dp 0 serve for all. Matched by name. */
function addressesOf(stage: Stage, context: LoweringContext, virtual: number, tp: number): ParameterAddress[] {
  const pp = placeOf(context.layout, virtual).stage;
  const held = context.rankParameters[rankOf(context.mesh, { pp, dp: 0, tp })] ?? [];
  const byName = new Map(held.map((parameter) => [parameter.name, parameter]));
  return stage.graph.parameters.map(({ name }) => {
    const parameter = byName.get(name);
    if (parameter === undefined) {
      throw new MerakError('plan/invalid', `stage ${pp} uses parameter '${name}' but does not hold it`, {
        path: name,
        hint: 'give this graph to the planner with the training graph',
      });
    }
    return parameter;
  });
}
