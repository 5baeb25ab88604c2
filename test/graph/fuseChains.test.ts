/** Chains of element-wise nodes: what is fused, what stays, and that a chain is the nodes it was made of. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeFlops } from '../../src/graph/cost.js';
import type { Graph, Node, Value, ValueId } from '../../src/graph/graph.js';
import { fuseChains } from '../../src/graph/passes/fuseChains.js';

const SHAPES = [[2, 3], [3], [2, 1], []] as const;
const UNARY = { Neg: (x: number) => -x, Square: (x: number) => x * x, Relu: (x: number) => (x > 0 ? x : 0) };
const BINARY = {
  Add: (x: number, y: number) => x + y,
  Sub: (x: number, y: number) => x - y,
  Multiply: (x: number, y: number) => x * y,
  Maximum: (x: number, y: number) => Math.max(x, y),
};
const OPERATIONS: Readonly<Record<string, (...x: number[]) => number>> = {
  ...(UNARY as Record<string, (...x: number[]) => number>),
  ...(BINARY as Record<string, (...x: number[]) => number>),
  Identity: (x) => x!,
  ClipByValue: (x, low, high) => Math.min(high!, Math.max(low!, x!)),
};

const NUM_INPUTS = 3;
const float = (shape: readonly number[]): Value => ({ shape, dtype: 'float32', batchDim: -1 });

interface Drawn {
  readonly kernel: string;
  readonly operands: readonly number[];
}

/** Inputs of several shapes, then nodes over what came before, some of them no element-wise ones (Opaque). */
function graphOf(drawn: readonly Drawn[]): Graph {
  const values: Value[] = SHAPES.slice(0, NUM_INPUTS).map(float);
  const nodes = drawn.map(({ kernel, operands }): Node => {
    const arity = kernel in BINARY ? 2 : 1;
    const inputs = operands.slice(0, arity).map((operand) => operand % values.length);
    const shape = Array.from({ length: 2 }, (_, d) =>
      Math.max(...inputs.map((id) => values[id]!.shape.at(d - 2) ?? 1)),
    );
    const inputShape = values[inputs[0]!]!.shape;
    values.push(float(arity === 2 ? shape : inputShape));
    const attrs: Node['attrs'] = kernel === 'ClipByValue' ? { clipValueMin: -1.5, clipValueMax: 1.5 } : {};
    const inputNames = arity === 2 ? ['a', 'b'] : ['x'];
    return { kernel, inputs, inputNames, outputs: [values.length - 1], attrs, scope: '' };
  });
  return { values, nodes, inputs: [], parameters: [], constants: [], outputs: [], updates: [] };
}

/** Every value that nodes make, as [2, 3] numbers: the reference knows nothing of chains but their attributes. */
function evaluate(graph: Graph, nodes: readonly Node[]): Map<ValueId, number[]> {
  const at = (id: ValueId, i: number): number => {
    const { shape } = graph.values[id]!;
    const [rows, columns] = [shape.at(-2) ?? 1, shape.at(-1) ?? 1];
    const index = (rows === 1 ? 0 : Math.floor(i / 3)) * columns + (columns === 1 ? 0 : i % 3);
    return known.get(id)![index]!;
  };
  const known = new Map<ValueId, number[]>();
  for (let id = 0; id < NUM_INPUTS; id++) known.set(id, [0.5, -2, 1.25, 3, -0.75, 0.1].slice(0, size(graph, id)));
  for (const { kernel, inputs, outputs, attrs } of nodes) {
    const [output] = outputs as [ValueId];
    const places = Array.from({ length: size(graph, output) }, (_, i) =>
      (graph.values[output]!.shape.at(-1) ?? 1) === 1 ? i * 3 : i,
    );
    const list = (name: string) => attrs[name] as readonly number[];
    known.set(
      output,
      places.map((i) => {
        const operands = inputs.map((id) => at(id, i));
        if (kernel === 'Opaque') return operands[0]! + 1;
        if (kernel !== 'MerakFused')
          return OPERATIONS[kernel]!(...operands, ...(kernel === 'ClipByValue' ? [-1.5, 1.5] : []));
        const [operandNumbers, numbers] = [[...list('operands')], [...list('numbers')]];
        (attrs.kernels as unknown as readonly string[]).forEach((step, s) => {
          const own = operandNumbers.splice(0, list('counts')[s]).map((operand) => operands[operand]!);
          operands.push(OPERATIONS[step]!(...own, ...numbers.splice(0, list('numberCounts')[s])));
        });
        return operands.at(-1)!;
      }),
    );
  }
  return known;
}

const size = (graph: Graph, id: ValueId) => graph.values[id]!.shape.reduce((product, dim) => product * dim, 1);

const kernels = [...Object.keys(UNARY), ...Object.keys(BINARY), 'ClipByValue', 'Opaque'];
const drawnNodes = fc.array(
  fc.record({
    kernel: fc.constantFrom(...kernels),
    operands: fc.array(fc.nat(40), { minLength: 2, maxLength: 2 }),
  }),
  { minLength: 1, maxLength: 40 },
);

describe('fuseChains', () => {
  it('keeps the value of everything that is kept, over random graphs', () => {
    fc.assert(
      fc.property(drawnNodes, fc.array(fc.nat(40), { maxLength: 4 }), (drawn, wanted) => {
        const graph = graphOf(drawn);
        const kept = new Set([...wanted.map((one) => one % graph.values.length), graph.values.length - 1]);
        const fused = fuseChains(graph, graph.nodes, (value) => kept.has(value));
        const [before, after] = [evaluate(graph, graph.nodes), evaluate(graph, fused)];
        for (const value of kept) expect(after.get(value)).toEqual(before.get(value));
        expect(fused.length).toBeLessThanOrEqual(graph.nodes.length);
        for (const node of fused) expect(node.inputs.length).toBeLessThanOrEqual(16);
      }),
      { numRuns: 300 },
    );
  });

  const chain = (...kernelsOf: string[]) =>
    graphOf(kernelsOf.map((kernel, i) => ({ kernel, operands: [i === 0 ? 0 : NUM_INPUTS - 1 + i, 1] })));

  it('makes one node of a chain, its sum with a row included', () => {
    const graph = chain('Square', 'Add', 'Relu', 'Multiply');
    const fused = fuseChains(graph, graph.nodes, () => false);
    expect(fused.map(({ kernel }) => kernel)).toEqual(['MerakFused']);
    expect(new Set(fused[0]!.inputs)).toEqual(new Set([0, 1]));
  });

  it('leaves integers, what is kept, and what an exchange lies between', () => {
    const graph = chain('Square', 'Add', 'Relu');
    const whole = { ...graph, values: graph.values.map((value) => ({ ...value, dtype: 'int32' as const })) };
    expect(fuseChains(whole, whole.nodes, () => false)).toBe(whole.nodes);
    const cut = fuseChains(graph, graph.nodes, (value) => value === NUM_INPUTS);
    expect(cut.map(({ kernel }) => kernel)).toEqual(['Square', 'MerakFused']);
    const wait = { ...graph.nodes[0]!, kernel: 'MerakWait', inputs: [1], outputs: [2] };
    const nodes = [graph.nodes[0]!, graph.nodes[1]!, wait, graph.nodes[2]!];
    const apart = fuseChains(graph, nodes, () => false).map(({ kernel }) => kernel);
    expect(apart).toEqual(['MerakFused', 'MerakWait', 'Relu']);
  });

  describe('a reduction at the end', () => {
    /** A chain over [2, 3] and its reduction over `axes`. */
    function reducedBy(kernel: string, axes: readonly number[], dtype: 'float32' | 'int32' = 'float32') {
      const graph = chain('Square', 'Add');
      const attrs = { [kernel === 'Max' ? 'reductionIndices' : 'axis']: axes };
      const made = graph.values.length;
      const sum: Node = { kernel, inputs: [made - 1], inputNames: ['x'], outputs: [made], attrs, scope: 'loss' };
      return { values: [...graph.values, { ...float([]), dtype }], nodes: [...graph.nodes, sum], made };
    }
    const fuse = (given: ReturnType<typeof reducedBy>, isKept: (value: ValueId) => boolean = () => false) => {
      const graph = { ...graphOf([]), values: given.values };
      return fuseChains(graph, given.nodes, isKept);
    };
    it.each([
      ['Sum', [0, 1]],
      ['Mean', [-1]],
      ['Max', [0]],
      ['Min', [1]],
    ])('%s over %j is taken in', (kernel, axes) => {
      const given = reducedBy(kernel, axes);
      const [only, ...others] = fuse(given);
      expect(others).toEqual([]);
      expect(only).toMatchObject({ kernel: 'MerakFused', outputs: [given.made], scope: 'loss' });
      expect(only!.attrs).toMatchObject({
        kernels: ['Square', 'Add'],
        reduction: kernel,
        shape: [2, 3],
        axes: axes.map((axis) => (axis + 2) % 2),
      });
      // Two steps and the joining, for each of six elements.
      expect(nodeFlops({ ...graphOf([]), values: given.values }, only!)).toBe(18);
    });
    it('is not, where others read what it reduces, of integers, and of dims that lie apart', () => {
      const given = reducedBy('Sum', [0]);
      const kept = fuse(given, (value) => value === given.made - 1);
      expect(kept.map(({ kernel }) => kernel)).toEqual(['MerakFused', 'Sum']);
      const other: Node = { ...given.nodes[0]!, kernel: 'Opaque', inputs: [given.made - 1], outputs: [2] };
      const read = fuse({ ...given, nodes: [...given.nodes, other] });
      expect(read.map(({ kernel }) => kernel)).toEqual(['MerakFused', 'Sum', 'Opaque']);
      expect(fuse(reducedBy('Sum', [0], 'int32')).map(({ kernel }) => kernel)).toEqual(['MerakFused', 'Sum']);
      const cube = reducedBy('Sum', [0, 2]);
      const values = cube.values.map((value, id) => (id === cube.made ? value : float([2, 3, 4])));
      expect(fuse({ ...cube, values }).map(({ kernel }) => kernel)).toEqual(['MerakFused', 'Sum']);
    });
  });

  it('gives a dropout the term it is added to', () => {
    const graph = chain('MerakDropout', 'Add');
    const sum = { ...graph.nodes[1]!, inputs: [0, NUM_INPUTS] };
    const [only, ...others] = fuseChains(graph, [graph.nodes[0]!, sum], () => false);
    expect(others).toEqual([]);
    expect(only).toMatchObject({ kernel: 'MerakDropout', inputNames: ['x', 'residual'], outputs: sum.outputs });
    expect(fuseChains(graph, [graph.nodes[0]!, sum], (value) => value === NUM_INPUTS)).toHaveLength(2);
  });
});
