/** From stage graphs to lowered stages, for training and for forward-only modes. */

import type { Derivative } from '../autodiff/derivative.js';
import { differentiate } from '../autodiff/differentiate.js';
import { MerakError } from '../errors.js';
import type { Graph, ValueId } from '../graph/graph.js';
import type { Stage } from '../partitioner/stage.js';
import { gradientMessages } from '../plan/boundaries.js';
import { type LoweredStage, lowerStage, type ParameterAddress } from '../plan/lower.js';
import { rankOf } from '../plan/mesh.js';
import type { Mesh, RankParameter } from '../plan/plan.js';
import { expandDerivative, expandVocabParallel } from '../tensorparallel/expand.js';
import { overlapDerivative, type SubPipelineOptions, splitStage } from '../tensorparallel/subPipeline.js';
import { fuseDerivative, type Precision } from './fuse.js';
import { withGlobalBatch } from './prepare.js';
import type { SplitGraph } from './split.js';

export interface LoweredModes {
  /** `lowered[tp][pp]` */
  readonly lowered: readonly (readonly LoweredStage[])[];
  /** `derivatives[tp][pp]`; empty when forward only. */
  readonly derivatives: readonly (readonly Derivative[])[];
}

export interface LoweringContext {
  readonly mesh: Mesh;
  /** Per rank: its parameters and where they lie. */
  readonly rankParameters: readonly (readonly RankParameter[])[];
  readonly numMicroBatches: number;
  /** Of training; forward-only modes compute in float32. Default 'f32'. */
  readonly precision?: Precision;
  /** Into which training splits every micro-batch. Default 1. */
  readonly numSubBatches?: number;
}

/** What a stage keeps; `lower` shows what its programs are when it keeps some values. */
export type KeepRule = (
  pp: number,
  derivative: Derivative,
  lower: (saved: ReadonlySet<ValueId>) => LoweredStage,
) => ReadonlySet<ValueId>;

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
    const stages = whole.map((stage) => splitStage(stage, subPipelineOf(context)));
    const twins = whole.map((stage, pp) => twinOf(split, stage, tp, pp));
    const column = differentiateStages(stages, context, (pp) => derivatives[twins[pp] ?? -1]?.[pp]);
    const messages = gradientMessages(column);
    const lowerAs = (pp: number, values: ReadonlySet<ValueId>): LoweredStage => {
      const [stage, derivative, message] = [stages[pp], column[pp], messages[pp]];
      if (stage === undefined || derivative === undefined || message === undefined) {
        throw new MerakError('plan/invalid', `there is no stage ${pp}`);
      }
      return lowerStage({
        stage,
        isLast: pp === context.mesh.pp - 1,
        results: 'metrics',
        parameters: addressesOf(stage, context, pp, tp),
        backward: { derivative, messages: message, saved: values, splitsWeights },
      });
    };
    derivatives.push(column);
    lowered.push(
      column.map((derivative, pp) => {
        const shared = lowered[twins[pp] ?? -1]?.[pp];
        if (shared !== undefined) return shared;
        // Values correspond on all ranks of the tensor axis, and so does what they keep.
        const values = saved[pp] ?? keep(pp, derivative, (some) => lowerAs(pp, some));
        saved[pp] ??= values;
        return lowerAs(pp, values);
      }),
    );
  });
  return { lowered, derivatives };
}

/** The first rank of the tensor axis before `tp` whose stage is the same, attributes and constants included; -1 if none. */
function twinOf(split: SplitGraph, stage: Stage, tp: number, pp: number): number {
  const isSame = (other: Graph | undefined) =>
    other?.nodes.every((node, index) => sameAttrs(node.attrs, stage.graph.nodes[index]?.attrs)) &&
    other.constants.every(({ data }, index) => sameData(data, stage.graph.constants[index]?.data));
  return split.stages.slice(0, tp).findIndex((stages) => isSame(stages[pp]?.graph));
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
    stages.map((stage, pp) => {
      const graph = expandVocabParallel(withGlobalBatch(stage.graph, context.numMicroBatches * context.mesh.dp));
      return lowerStage({
        stage: { ...stage, graph },
        isLast: pp === context.mesh.pp - 1,
        results,
        parameters: addressesOf(stage, context, pp, tp),
      });
    }),
  );
}

/** From the last stage to the first, so that each knows which gradients will arrive. */
function differentiateStages(
  stages: readonly Stage[],
  context: LoweringContext,
  known: (pp: number) => Derivative | undefined,
): Derivative[] {
  const derivatives: Derivative[] = [];
  let arriving: boolean[] | undefined;
  for (let pp = stages.length - 1; pp >= 0; pp--) {
    const stage = stages[pp];
    if (stage === undefined) continue;
    const derivative = known(pp) ?? differentiateStage(stage, context, arriving);
    derivatives.unshift(derivative);
    arriving = derivative.receivedGradients.map((gradient) => gradient !== null);
  }
  return derivatives;
}

function differentiateStage(stage: Stage, context: LoweringContext, arriving: boolean[] | undefined): Derivative {
  const expanded = expandDerivative(differentiate(stage, arriving === undefined ? {} : { arriving }));
  const graph = withGlobalBatch(expanded.graph, context.numMicroBatches * context.mesh.dp);
  const fused = fuseDerivative({ ...expanded, graph }, context.precision ?? 'f32');
  return overlapDerivative(fused, subPipelineOf(context));
}

function subPipelineOf({ mesh, numSubBatches = 1 }: LoweringContext): SubPipelineOptions {
  return { numSubBatches, degree: mesh.tp };
}

/** Offsets are alike on all replicas, so those of dp 0 serve for all. Matched by name. */
function addressesOf(stage: Stage, context: LoweringContext, pp: number, tp: number): ParameterAddress[] {
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
