/** Where a plan's parameters are used, for cutting further graphs by them. */
import type { ParameterPlan } from '../plan/plan.js';
import type { SplitGraph } from './split.js';

/** By name: each parameter's layout, and the virtual stages that use it. */
export function ownersOf(parameters: readonly ParameterPlan[]): Pick<SplitGraph, 'layouts' | 'stagesOf'> {
  return {
    layouts: new Map(parameters.map(({ name, layout }) => [name, layout])),
    stagesOf: new Map(parameters.map(({ name, stages, virtualStages }) => [name, virtualStages ?? stages])),
  };
}
