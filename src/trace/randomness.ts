/** Turns random numbers that tfjs drew while tracing into kernels that draw them anew each step. */
import { MerakError } from '../errors.js';
import { eliminateDeadNodes } from '../graph/clean.js';
import type { Attrs, Graph, Node, ValueId } from '../graph/graph.js';
import { whereabouts } from './failure.js';
import type { RandomConstant, Recording } from './recording.js';

/** A graph with the random constants that are left in it. */
export interface Randomness {
  readonly graph: Graph;
  readonly left: readonly (RandomConstant & { readonly data: ArrayLike<number> })[];
}

/**
 * tf.dropout computes x * (floor(uniform + keep) / keep). Where one mask meets one tensor of its shape, the product
 * becomes MerakDropout(x); a mask that is broadcast (noise shapes) or used more than once becomes MerakDropout(ones).
 */
export function raiseDropout({ graph, randomConstants }: Pick<Recording, 'graph' | 'randomConstants'>): Randomness {
  const uses = usesOf(graph);
  const replaced = new Map<Node, Node>();
  const newConstants: Graph['constants'][number][] = [];
  const values = [...graph.values];
  for (const constant of graph.constants) {
    const mask = randomConstants.has(constant.value) ? findMask(graph, uses, constant.value) : undefined;
    if (mask === undefined) continue;
    const { division, rate } = mask;
    const maskValue = division.outputs[0]!;
    const shape = values[maskValue]!.shape;
    const product = soleUse(uses, maskValue);
    const operand = product?.kernel === 'Multiply' ? product.inputs.find((id) => id !== maskValue) : undefined;
    if (product !== undefined && operand !== undefined && values[operand]!.shape.join() === shape.join()) {
      replaced.set(product, dropout(product, operand, rate));
    } else {
      const ones = values.push({ shape, dtype: 'float32', batchDim: -1 }) - 1;
      newConstants.push({ value: ones, data: new Float32Array(constant.data.length).fill(1) });
      replaced.set(division, dropout(division, ones, rate));
    }
  }
  const raised = eliminateDeadNodes({
    ...graph,
    values,
    constants: [...graph.constants, ...newConstants],
    nodes: graph.nodes.map((node) => replaced.get(node) ?? node),
  });
  // Constants keep their data's identity through renumbering.
  const randomData = new Map(
    graph.constants.flatMap(({ value, data }) => {
      const random = randomConstants.get(value);
      return random === undefined ? [] : [[data, random] as const];
    }),
  );
  const left = raised.constants.flatMap(({ data }) => {
    const random = randomData.get(data);
    return random === undefined ? [] : [{ ...random, data }];
  });
  return { graph: raised, left };
}

/**
 * Refuses what is still random, unless a second trace drew the very same numbers (a seeded op: a constant after all).
 * Raises trace/random-constant.
 */
export function refuseRandomConstants(first: Randomness, second: Randomness): void {
  first.left.forEach(({ op, source, scope, data }, index) => {
    const other = second.left[index]?.data;
    const same =
      other !== undefined && other.length === data.length && Array.from(data).every((x, i) => x === other[i]);
    if (!same) throw randomConstant(`tf.${op}`, whereabouts(source, scope));
  });
  const multinomial = first.graph.nodes.find((node) => node.kernel === 'Multinomial');
  if (multinomial !== undefined) {
    throw randomConstant('tf.multinomial', whereabouts(multinomial.source, multinomial.scope));
  }
}

/**
 * Numbers the random nodes 0, 1, ... in order and says where their values lie: here, in the whole. What the model named or
 * placed itself stays (merak.nn's `node`; the rows of a shard), and the others are numbered as if those were not there.
 */
export function placeRandomNodes(graph: Graph): Graph {
  let next = 0;
  return {
    ...graph,
    nodes: graph.nodes.map((call) => {
      if (call.kernel !== 'MerakDropout' && call.kernel !== 'MerakRandom') return call;
      const { shape, batchDim } = graph.values[call.outputs[0]!]!;
      const { ownNode, ownPlace, ...attrs } = call.attrs;
      const node: Attrs = ownNode === true ? {} : { node: next++ };
      const place: Attrs = ownPlace === true ? {} : { globalShape: [...shape], offsets: shape.map(() => 0), batchDim };
      return { ...call, attrs: { ...attrs, ...node, ...place } };
    }),
  };
}

type Uses = ReadonlyMap<ValueId, readonly Node[]>;

function usesOf(graph: Graph): Uses {
  const uses = new Map<ValueId, Node[]>();
  for (const node of graph.nodes) {
    for (const id of new Set(node.inputs)) uses.set(id, [...(uses.get(id) ?? []), node]);
  }
  return uses;
}

/** The one node that uses a value; undefined when it is used elsewhere too, or twice by that node. */
function soleUse(uses: Uses, value: ValueId): Node | undefined {
  const users = uses.get(value) ?? [];
  const [user] = users;
  return users.length === 1 && user!.inputs.filter((id) => id === value).length === 1 ? user : undefined;
}

function findMask(graph: Graph, uses: Uses, random: ValueId): { division: Node; rate: number } | undefined {
  const sum = soleUse(uses, random);
  if (sum?.kernel !== 'Add') return undefined;
  const floor = soleUse(uses, sum.outputs[0]!);
  if (floor?.kernel !== 'Floor') return undefined;
  const division = soleUse(uses, floor.outputs[0]!);
  if (division?.kernel !== 'RealDiv' || division.inputs[0] !== floor.outputs[0]) return undefined;
  const added = scalarConstant(graph, sum.inputs.find((id) => id !== random)!);
  const keep = scalarConstant(graph, division.inputs[1]!);
  if (keep === undefined || added !== keep) return undefined;
  // 1 - rate was rounded to float32: the shortest decimal that rounds to it is the rate the user wrote.
  return { division, rate: Number((1 - keep).toPrecision(6)) };
}

function scalarConstant(graph: Graph, id: ValueId): number | undefined {
  const constant = graph.constants.find(({ value }) => value === id);
  return constant?.data.length === 1 ? constant.data[0] : undefined;
}

function dropout(node: Node, x: ValueId, rate: number): Node {
  return { ...node, kernel: 'MerakDropout', inputs: [x], inputNames: ['x'], attrs: { rate } };
}

function randomConstant(op: string, path: string): MerakError {
  return new MerakError('trace/random-constant', `${op} inside the model: every step would use the same numbers`, {
    ...(path === '' ? {} : { path }),
    hint: 'use merak.nn.dropout, merak.nn.randomNormal or merak.nn.randomUniform, which draw anew each step in any layout',
  });
}
