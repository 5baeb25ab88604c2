/** From stage graphs to lowered stages, for training and for forward-only modes. */
import { differentiate } from '../autodiff/differentiate.js';
import type { Derivative } from '../autodiff/derivative.js';
import { MerakError } from '../errors.js';
import type { Stage } from '../partitioner/stage.js';
import { gradientMessages } from '../plan/boundaries.js';
import { lowerStage, type LoweredStage, type ParameterAddress } from '../plan/lower.js';
import { rankOf } from '../plan/mesh.js';
import type { Mesh, RankParameter } from '../plan/plan.js';
import { chooseSaved } from '../recompute/saved.js';
import { expandDerivative, expandVocabParallel } from '../tensorparallel/expand.js';
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
}

export function lowerTraining(split: SplitGraph, context: LoweringContext, recomputes: readonly boolean[]): LoweredModes {
  const derivatives = split.stages.map((stages) => differentiateStages(stages, context));
  const lowered = split.stages.map((stages, tp) => {
    const column = derivatives[tp] ?? [];
    const messages = gradientMessages(column);
    return stages.map((stage, pp) => {
      const [derivative, message] = [column[pp], messages[pp]];
      if (derivative === undefined || message === undefined) throw new MerakError('plan/invalid', `no stage ${pp}`);
      return lowerStage({
        stage,
        isLast: pp === context.mesh.pp - 1,
        results: 'metrics',
        parameters: addressesOf(stage, context, pp, tp),
        backward: { derivative, messages: message, saved: chooseSaved(derivative, recomputes[pp] ? 'full' : 'none') },
      });
    });
  });
  return { lowered, derivatives };
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
function differentiateStages(stages: readonly Stage[], context: LoweringContext): Derivative[] {
  const derivatives: Derivative[] = [];
  let arriving: boolean[] | undefined;
  for (const stage of [...stages].reverse()) {
    const derivative = expandDerivative(differentiate(stage, arriving === undefined ? {} : { arriving }));
    const graph = withGlobalBatch(derivative.graph, context.numMicroBatches * context.mesh.dp);
    derivatives.unshift({ ...derivative, graph });
    arriving = derivative.receivedGradients.map((gradient) => gradient !== null);
  }
  return derivatives;
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
