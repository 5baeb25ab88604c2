/** Appends backward nodes to a graph, simplifying as it goes: zeros, ones, no-op casts and reshapes, repeated calls. */
import type { Attrs, DType, Graph, GraphConstant, GraphInput, Node, Value, ValueId } from '../graph/graph.js';

/** Kernels that map zero to zero in every input that matters. */
const LINEAR = new Set([
  'Reshape',
  'Transpose',
  'Tile',
  'Sum',
  'Mean',
  'Slice',
  'Neg',
  'Cast',
  'Reverse',
  'ExpandDims',
  'Identity',
  'MerakDropout',
]);
/** Zero when any of the first two inputs is. */
const BILINEAR = new Set(['Multiply', 'BatchMatMul']);

/** Kernels that broadcast by themselves: a repeated operand need not be made. */
const BROADCASTING = new Set(['Add', 'Sub', 'Multiply', 'RealDiv']);

type Place = Pick<Node, 'scope' | 'source'>;

export interface BackwardBuilder {
  readonly values: readonly Value[];
  readonly nodes: readonly Node[];
  readonly constants: readonly GraphConstant[];
  readonly inputs: readonly GraphInput[];
  addInput(name: string, value: Value): ValueId;
  addScalar(value: number): ValueId;
  /** What the step multiplies the loss by (MerakLossScale): known to the device only. */
  addLossScale(): ValueId;
  /** a + b; whichever is zero is dropped. */
  add(a: ValueId, b: ValueId, place: Place): ValueId;
  isZero(id: ValueId): boolean;
  /** Inlines `graph`, its inputs bound by name, and returns its outputs by name. */
  inline(graph: Graph, bindings: ReadonlyMap<string, ValueId>, place: Place): ReadonlyMap<string, ValueId>;
}

export function backwardBuilder(forward: Graph): BackwardBuilder {
  const values = [...forward.values];
  const nodes = [...forward.nodes];
  const constants = [...forward.constants];
  const inputs = [...forward.inputs];
  const uniform = new Map<ValueId, number>();
  const reshapedFrom = new Map<ValueId, ValueId>();
  const repeatedFrom = new Map<ValueId, ValueId>();
  const known = new Map<string, readonly ValueId[]>();
  const scalars = new Map<string, ValueId>();

  const typeAt = (id: ValueId): Value => {
    const value = values[id];
    if (value === undefined) throw new RangeError(`no value ${id}`);
    return value;
  };
  const addValue = (value: Value): ValueId => values.push(value) - 1;
  const isZero = (id: ValueId): boolean => uniform.get(id) === 0;

  function addConstant(value: Value, data: GraphConstant['data'], place: Place): ValueId {
    const first = data[0];
    const same = first !== undefined && data.every((element) => element === first);
    if (same && data.length > 1) {
      return (
        call('Fill', [], [], { shape: [...value.shape], value: first, dtype: value.dtype }, [value], place)[0] ?? 0
      );
    }
    const key = data.length <= 1024 ? `${value.dtype}[${value.shape}]${Array.from(data).join()}` : '';
    const shared = key === '' ? undefined : scalars.get(key);
    if (shared !== undefined) return shared;
    const id = addValue({ ...value, batchDim: -1 });
    constants.push({ value: id, data });
    if (same) uniform.set(id, first);
    if (key !== '') scalars.set(key, id);
    return id;
  }

  /** An existing value that equals the call's only output, if there is one. */
  function shortcut(kernel: string, args: readonly ValueId[], output: Value): ValueId | undefined {
    const [a, b] = args;
    if (a === undefined) return undefined;
    const fits = (id: ValueId) => sameType(typeAt(id), output);
    if ((kernel === 'Identity' || kernel === 'Cast' || kernel === 'Reshape') && fits(a)) return a;
    if (kernel === 'Reshape') {
      const source = reshapedFrom.get(a);
      return source !== undefined && fits(source) ? source : undefined;
    }
    if (b === undefined) return undefined;
    if ((kernel === 'Add' || kernel === 'Sub') && isZero(b) && fits(a)) return a;
    if (kernel === 'Add' && isZero(a) && fits(b)) return b;
    if ((kernel === 'Multiply' || kernel === 'RealDiv') && uniform.get(b) === 1 && fits(a)) return a;
    return kernel === 'Multiply' && uniform.get(a) === 1 && fits(b) ? b : undefined;
  }

  /** The operands with a repeated one replaced by what it repeats, as long as the other alone has the output's shape. */
  function withoutRepeats(args: readonly ValueId[], output: Value): readonly ValueId[] | undefined {
    const [a = -1, b = -1] = args;
    const [sourceA, sourceB] = [repeatedFrom.get(a), repeatedFrom.get(b)];
    const full = (id: ValueId) => sameType(typeAt(id), output);
    if (sourceA !== undefined && full(b)) return [sourceA, b];
    return sourceB !== undefined && full(a) ? [a, sourceB] : undefined;
  }

  function uniformOutput(kernel: string, args: readonly ValueId[], attrs: Attrs): number | undefined {
    if (kernel === 'Fill') return typeof attrs.value === 'number' ? attrs.value : undefined;
    if (kernel === 'ZerosLike') return 0;
    if (kernel === 'OnesLike') return 1;
    const [a = -1, b = -1] = args;
    const zero =
      (LINEAR.has(kernel) && isZero(a)) ||
      (kernel === 'PadV2' && isZero(a) && (attrs.constantValue ?? 0) === 0) ||
      (BILINEAR.has(kernel) && (isZero(a) || isZero(b))) ||
      (kernel === 'RealDiv' && isZero(a)) ||
      ((kernel === 'Add' || kernel === 'Sub') && isZero(a) && isZero(b));
    if (zero) return 0;
    return (kernel === 'Reshape' || kernel === 'Tile') && uniform.has(a) ? uniform.get(a) : undefined;
  }

  function call(
    kernel: string,
    args: readonly ValueId[],
    inputNames: readonly string[],
    attrs: Attrs,
    results: readonly Value[],
    place: Place,
  ): readonly ValueId[] {
    const [only] = results;
    if (results.length === 1 && only !== undefined) {
      const existing = shortcut(kernel, args, only);
      if (existing !== undefined) return [existing];
      const source = kernel === 'Reshape' && args[0] !== undefined ? reshapedFrom.get(args[0]) : undefined;
      if (source !== undefined) return call(kernel, [source, ...args.slice(1)], inputNames, attrs, results, place);
      if (BROADCASTING.has(kernel)) {
        const narrow = withoutRepeats(args, only);
        if (narrow !== undefined) return call(kernel, narrow, inputNames, attrs, results, place);
      }
    }
    const key = JSON.stringify([kernel, args, inputNames, attrs, results]);
    const again = known.get(key);
    if (again !== undefined) return again;
    const outputs = results.map(addValue);
    nodes.push({ kernel, inputs: args, inputNames, outputs, attrs, ...place });
    known.set(key, outputs);
    const [output] = outputs;
    if (outputs.length === 1 && output !== undefined) {
      const constant = uniformOutput(kernel, args, attrs);
      if (constant !== undefined) uniform.set(output, constant);
      if (kernel === 'Reshape' && args[0] !== undefined) reshapedFrom.set(output, args[0]);
      if (kernel === 'Tile' && args[0] !== undefined && repeatsOnes(typeAt(args[0]), typeAt(output)))
        repeatedFrom.set(output, args[0]);
    }
    return outputs;
  }

  return {
    values,
    nodes,
    constants,
    inputs,
    isZero,
    addInput(name, value) {
      const id = addValue(value);
      inputs.push({ name, value: id });
      return id;
    },
    addScalar: (value) =>
      addConstant({ shape: [], dtype: 'float32', batchDim: -1 }, Float32Array.of(value), { scope: '' }),
    addLossScale: () =>
      call('MerakLossScale', [], [], {}, [{ shape: [], dtype: 'float32', batchDim: -1 }], { scope: '' })[0] ?? 0,
    add: (a, b, place) => call('Add', [a, b], ['a', 'b'], {}, [typeAt(a)], place)[0] ?? a,
    inline(graph, bindings, place) {
      const mapped = new Map<ValueId, ValueId>();
      for (const { name, value } of graph.inputs) {
        const bound = bindings.get(name);
        if (bound !== undefined) mapped.set(value, bound);
      }
      for (const { value, data } of graph.constants) {
        const type = graph.values[value];
        if (type !== undefined) mapped.set(value, addConstant(type, data, place));
      }
      const resolve = (id: ValueId): ValueId => {
        const found = mapped.get(id);
        if (found === undefined) throw new RangeError(`value ${id} of an inlined graph is unbound`);
        return found;
      };
      for (const node of graph.nodes) {
        const results = node.outputs.map((id): Value => graph.values[id] ?? scalarOf('float32'));
        const ids = call(node.kernel, node.inputs.map(resolve), node.inputNames, node.attrs, results, place);
        for (const [index, id] of node.outputs.entries()) mapped.set(id, ids[index] ?? 0);
      }
      return new Map(graph.outputs.map(({ name, value }) => [name, resolve(value)]));
    },
  };
}

/** Whether `to` repeats `from` along dims of size 1 only: what broadcasting does. */
function repeatsOnes(from: Value, to: Value): boolean {
  return from.shape.every((size, dim) => size === 1 || size === to.shape[dim]);
}

function scalarOf(dtype: DType): Value {
  return { shape: [], dtype, batchDim: -1 };
}

function sameType(a: Value, b: Value): boolean {
  return (
    a.dtype === b.dtype && a.shape.length === b.shape.length && a.shape.every((size, dim) => size === b.shape[dim])
  );
}
