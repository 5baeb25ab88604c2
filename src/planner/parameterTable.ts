/** The logical parameters of a plan, gathered from the graphs of all its modes. */
import { MerakError } from '../errors.js';
import type { Graph, GraphParameter } from '../graph/graph.js';
import { type ChunkLayout, placeOf } from '../pipeline/virtualStages.js';
import type { ParameterPlan } from '../plan/plan.js';
import { REPLICATE } from '../tensorparallel/layout.js';
import type { SplitGraph } from './split.js';

export interface ParameterTable {
  readonly parameters: readonly ParameterPlan[];
  /** Per parameter: whether the training forward pass writes it. */
  readonly updated: readonly boolean[];
}

/**
 * Parameters of the training graph in its order, then those only other modes use (held, never trained). A parameter is
 * held by every stage that uses it in any mode; by stage 0 when nothing does.
 *
 * @throws MerakError 'plan/invalid' when state that the forward pass writes would be needed on two virtual stages.
 */
export function parameterTable(
  training: { readonly graph: Graph; readonly split: SplitGraph },
  others: readonly { readonly graph: Graph; readonly split: SplitGraph }[],
  layout: ChunkLayout,
): ParameterTable {
  const modes = [training, ...others];
  const trained = new Set(training.graph.parameters.map((parameter) => parameter.name));
  const writes = new Set(
    training.graph.updates.map((update) => training.graph.parameters[update.parameter]?.name ?? ''),
  );
  const seen = new Map<string, { parameter: GraphParameter; graph: Graph; split: SplitGraph }>();
  for (const { graph, split } of modes) {
    for (const parameter of graph.parameters) {
      if (!seen.has(parameter.name)) seen.set(parameter.name, { parameter, graph, split });
    }
  }
  const parameters = [...seen.values()].map(({ parameter, graph, split }): ParameterPlan => {
    const { name, initializer } = parameter;
    const value = graph.values[parameter.value];
    if (value === undefined) throw new MerakError('plan/invalid', `parameter '${name}' has no value`);
    const used = ascending(modes.flatMap((mode) => mode.split.stagesOf.get(name) ?? []));
    const virtualStages = used.length > 0 ? used : [0];
    if (writes.has(name) && virtualStages.length > 1) {
      throw new MerakError('plan/invalid', `'${name}' is written on one stage and used on another`, {
        path: name,
        received: `stages ${virtualStages.join(', ')}`,
        hint: 'use fewer stages',
      });
    }
    return {
      name,
      shape: value.shape,
      dtype: value.dtype,
      trainable: parameter.trainable && trained.has(name),
      layout: split.layouts.get(name) ?? REPLICATE,
      stages: ascending(virtualStages.map((virtual) => placeOf(layout, virtual).stage)),
      ...((layout.numChunks ?? 1) > 1 ? { virtualStages } : {}),
      ...(initializer === undefined ? {} : { initializer }),
    };
  });
  return { parameters, updated: parameters.map(({ name }) => writes.has(name)) };
}

function ascending(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].sort((a, b) => a - b);
}
