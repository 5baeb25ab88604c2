/** Building a graph, or extending one: values first, then the nodes that make them; `build` freezes the result. */
import type {
  Attrs,
  DType,
  Graph,
  GraphConstant,
  GraphInput,
  GraphOutput,
  GraphParameter,
  GraphUpdate,
  Initializer,
  Node,
  Value,
  ValueId,
} from './graph.js';

/** A value to be: `batchDim` -1 when left out. */
export interface NewValue {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly batchDim?: number;
}

export interface NewNode {
  readonly kernel: string;
  readonly inputs: readonly ValueId[];
  readonly inputNames: readonly string[];
  readonly outputs: readonly NewValue[];
  readonly attrs?: Attrs;
  readonly scope?: string;
  readonly source?: string | undefined;
}

export interface GraphBuilder {
  value(id: ValueId): Value;
  addValue(value: NewValue): ValueId;
  addInput(name: string, value: NewValue): ValueId;
  addParameter(name: string, value: NewValue, trainable: boolean, initializer?: Initializer): ValueId;
  addConstant(value: NewValue, data: GraphConstant['data']): ValueId;
  /** Returns the ids of the new output values. */
  addNode(node: NewNode): ValueId[];
  addOutput(name: string, value: ValueId): void;
  /** `parameter` is an index into the graph's parameters. */
  addUpdate(parameter: number, value: ValueId): void;
  build(): Graph;
}

/** Starts from nothing, or from a copy of `base` (whose ids stay valid). */
export function graphBuilder(base?: Graph): GraphBuilder {
  const values: Value[] = [...(base?.values ?? [])];
  const nodes: Node[] = [...(base?.nodes ?? [])];
  const inputs: GraphInput[] = [...(base?.inputs ?? [])];
  const parameters: GraphParameter[] = [...(base?.parameters ?? [])];
  const constants: GraphConstant[] = [...(base?.constants ?? [])];
  const outputs: GraphOutput[] = [...(base?.outputs ?? [])];
  const updates: GraphUpdate[] = [...(base?.updates ?? [])];

  function addValue({ shape, dtype, batchDim = -1 }: NewValue): ValueId {
    values.push({ shape: [...shape], dtype, batchDim });
    return values.length - 1;
  }

  return {
    value: (id) => values[id]!,
    addValue,
    addInput(name, value) {
      const id = addValue(value);
      inputs.push({ name, value: id });
      return id;
    },
    addParameter(name, value, trainable, initializer) {
      const id = addValue(value);
      parameters.push({ name, value: id, trainable, ...(initializer === undefined ? {} : { initializer }) });
      return id;
    },
    addConstant(value, data) {
      const id = addValue(value);
      constants.push({ value: id, data });
      return id;
    },
    addNode({ kernel, inputs, inputNames, outputs, attrs = {}, scope = '', source }) {
      const outputIds = outputs.map(addValue);
      nodes.push({
        kernel,
        inputs: [...inputs],
        inputNames: [...inputNames],
        outputs: outputIds,
        attrs,
        scope,
        ...(source === undefined ? {} : { source }),
      });
      return outputIds;
    },
    addOutput(name, value) {
      outputs.push({ name, value });
    },
    addUpdate(parameter, value) {
      updates.push({ parameter, value });
    },
    build: () => ({
      values: [...values],
      nodes: [...nodes],
      inputs: [...inputs],
      parameters: [...parameters],
      constants: [...constants],
      outputs: [...outputs],
      updates: [...updates],
    }),
  };
}
