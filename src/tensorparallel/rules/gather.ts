/** Looking things up: MerakEmbedding, GatherV2, OneHot. */
import { type DimFactors, FactorList, type LocalCall, type LocalContext, type RuleMaker } from '../rule.js';
import { dimAttr } from './attributes.js';

/** table [V, H], ids [...] -> [..., H]. Rows of the table over the ranks: each adds the rows it has, zeros elsewhere. */
const embedding: RuleMaker = (_node, shapes) => {
  const [table = [], ids = []] = shapes.inputs;
  const list = new FactorList();
  const rows = list.add(table[0] ?? 1, 'sum', 'wanted', true);
  const width = list.parallel(table[1] ?? 1);
  const positions = ids.map((size) => [list.parallel(size)]);
  return {
    factors: list.factors,
    inputs: [[[rows], [width]], positions],
    outputs: [[...positions, [width]]],
    linear: [[0]],
    localise: (local) => (local.factor === rows ? ownRows(local) : sameCall(local)),
  };
};

function ownRows({ node, index, localInputShapes }: LocalContext): LocalCall {
  const numRows = localInputShapes[0]?.[0] ?? 0;
  const offset = typeof node.attrs.vocabOffset === 'number' ? node.attrs.vocabOffset : 0;
  return {
    kernel: 'MerakEmbedding',
    inputNames: ['table', 'ids'],
    attrs: { vocabOffset: offset + index * numRows, sharded: true },
  };
}

function sameCall({ node }: LocalContext): LocalCall {
  return { kernel: node.kernel, inputNames: node.inputNames, attrs: node.attrs };
}

/** x [..., axis, ...], indices [...]: the axis must be whole, except the rows of a table, which become MerakEmbedding. */
const gather: RuleMaker = (node, shapes) => {
  const [x = [], indices = []] = shapes.inputs;
  const axis = dimAttr(node.attrs.axis, x.length);
  if ((node.attrs.batchDims ?? 0) !== 0) return undefined;
  if (axis === 0 && x.length === 2) return embedding(node, shapes);
  const list = new FactorList();
  const dims: DimFactors = x.map((size, dim) => [dim === axis ? list.whole(size) : list.parallel(size)]);
  const positions = indices.map((size) => [list.parallel(size)]);
  return {
    factors: list.factors,
    inputs: [dims, positions],
    outputs: [[...dims.slice(0, axis), ...positions, ...dims.slice(axis + 1)]],
    linear: [[0]],
  };
};

const oneHot: RuleMaker = (_node, shapes) => {
  const list = new FactorList();
  const positions = (shapes.inputs[0] ?? []).map((size) => [list.parallel(size)]);
  const depth = list.whole(shapes.outputs[0]?.at(-1) ?? 1);
  return { factors: list.factors, inputs: [positions], outputs: [[...positions, [depth]]], linear: [] };
};

export const GATHER_RULES: ReadonlyMap<string, RuleMaker> = new Map([
  ['MerakEmbedding', embedding],
  ['GatherV2', gather],
  ['OneHot', oneHot],
]);
