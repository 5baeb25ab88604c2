/** Graphs as JSON: everything but the data of constants, which lies with the weights. */
import { z } from 'zod';
import { MerakError } from '../../errors.js';
import { checkGraph } from '../../graph/check.js';
import type { Attr, Graph, GraphConstant } from '../../graph/graph.js';

const id = z.int().min(0);
const attr: z.ZodType<Attr> = z.lazy(() =>
  z.union([z.number(), z.string(), z.boolean(), z.null(), z.array(attr), z.record(z.string(), attr)]),
);
const named = z.object({ name: z.string(), value: id });

const schema = z.object({
  values: z.array(
    z.object({
      shape: z.array(z.int().min(0)),
      dtype: z.enum(['float32', 'int32', 'bool']),
      batchDim: z.int(),
      storedAs: z.enum(['bfloat16', 'float16', 'int8']).optional(),
    }),
  ),
  nodes: z.array(
    z.object({
      kernel: z.string(),
      inputs: z.array(id),
      inputNames: z.array(z.string()),
      outputs: z.array(id),
      attrs: z.record(z.string(), attr),
      scope: z.string(),
    }),
  ),
  inputs: z.array(named),
  parameters: z.array(named),
  /** Names of tensors among the weights. */
  constants: z.array(named),
  outputs: z.array(named),
});

export type GraphJson = z.input<typeof schema>;

/** The name under which a constant's data is kept. */
export function constantName(index: number): string {
  return `constant/${index}`;
}

/** Of a graph without updates. Attributes that are not finite numbers cannot be written: they raise checkpoint/write. */
export function graphToJson(graph: Graph): GraphJson {
  const nodes = graph.nodes.map(({ kernel, inputs, inputNames, outputs, attrs, scope }) => {
    const bad = Object.entries(attrs).find(([, value]) => typeof value === 'number' && !Number.isFinite(value));
    if (bad !== undefined) {
      throw new MerakError(
        'checkpoint/write',
        `attribute '${bad[0]}' of ${kernel} is ${bad[1]}, which JSON does not have`,
      );
    }
    return { kernel, inputs: [...inputs], inputNames: [...inputNames], outputs: [...outputs], attrs, scope };
  });
  return {
    values: graph.values.map((value) => ({ ...value, shape: [...value.shape] })),
    nodes,
    inputs: [...graph.inputs],
    parameters: graph.parameters.map(({ name, value }) => ({ name, value })),
    constants: graph.constants.map(({ value }, index) => ({ name: constantName(index), value })),
    outputs: [...graph.outputs],
  } as GraphJson;
}

/** @throws MerakError checkpoint/corrupt */
export function graphFromJson(json: unknown, path: string, constant: (name: string) => GraphConstant['data']): Graph {
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new MerakError('checkpoint/corrupt', `the graph of a saved model is damaged: ${issue?.message}`, {
      path: `${path}: ${issue?.path.join('.')}`,
      hint: 'save the model again',
    });
  }
  const { values, constants, parameters, nodes, ...rest } = parsed.data;
  const graph: Graph = {
    ...rest,
    values: values.map(({ storedAs, ...value }) => (storedAs === undefined ? value : { ...value, storedAs })),
    nodes,
    parameters: parameters.map((parameter) => ({ ...parameter, trainable: false })),
    constants: constants.map(({ name, value }) => ({ value, data: constant(name) })),
    updates: [],
  };
  try {
    return checkGraph(graph);
  } catch (cause) {
    throw new MerakError('checkpoint/corrupt', 'the graph of a saved model does not hold together', { path, cause });
  }
}
