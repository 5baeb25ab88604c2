/** The layout checker refuses what would compute something else, and says where. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Graph } from '../../src/graph/graph.js';
import type { Assignment } from '../../src/tensorparallel/assignment.js';
import { checkLayouts } from '../../src/tensorparallel/check.js';
import { type Layout, PARTIAL, REPLICATE } from '../../src/tensorparallel/layout.js';
import { localise } from '../../src/tensorparallel/localise.js';
import { chooseLayouts } from '../../src/tensorparallel/search.js';
import { shard } from '../../src/tensorparallel/shards.js';
import { trace, weight } from './graphs.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

function mlp(): Graph {
  return trace((r, b) => {
    const x = r.input('x', [b, 4], 'float32');
    const hidden = tf.relu(tf.matMul(x, weight(r, 'w1', [4, 8])));
    return { loss: tf.mean(tf.add(tf.matMul(hidden, weight(r, 'w2', [8, 4])), weight(r, 'bias', [4]))) };
  }, 2);
}

/** The assignment with other layouts for the outputs of the first node of a kernel, or for its inputs. */
function change(
  graph: Graph,
  assignment: Assignment,
  kernel: string,
  { input, output }: { input?: readonly [number, Layout]; output?: Layout },
): Assignment {
  const index = graph.nodes.findIndex((node) => node.kernel === kernel);
  const node = graph.nodes[index]!;
  const layouts = assignment.layouts.map((layout, value) =>
    output !== undefined && node.outputs.includes(value) ? output : layout,
  );
  const inputLayouts = assignment.inputLayouts.map((all, at) =>
    at === index && input !== undefined ? all.map((layout, i) => (i === input[0] ? input[1] : layout)) : all,
  );
  return { ...assignment, layouts, inputLayouts };
}

describe('the layout checker', () => {
  it('accepts what the search chose', () => {
    const graph = mlp();
    const assignment = chooseLayouts(graph, 2, { prefer: 'shard' });
    expect(assignment.layouts.map(({ kind }) => kind)).toContain('partial');
    expect(() => checkLayouts(graph, assignment)).not.toThrow();
  });

  it('refuses a partial value in a nonlinear op, naming op and layouts', () => {
    const graph = mlp();
    const replicated = chooseLayouts(graph, 1);
    const bad = change(graph, { ...replicated, degree: 2 }, 'Relu', { input: [0, PARTIAL], output: PARTIAL });
    expect(() => checkLayouts(graph, bad)).toThrow(/Relu.*cannot take[\s\S]*partial -> partial/);
  });

  it('refuses a contraction whose result is not declared partial', () => {
    const graph = mlp();
    const assignment = chooseLayouts(graph, 2, { prefer: 'shard' });
    const last = graph.nodes.findLastIndex((node) => node.kernel === 'BatchMatMul');
    const layouts = assignment.layouts.map((layout, value) =>
      graph.nodes[last]!.outputs.includes(value) ? REPLICATE : layout,
    );
    expect(() => checkLayouts(graph, { ...assignment, layouts })).toThrow(/BatchMatMul/);
  });

  it('refuses a bias added to every term of a sum', () => {
    const graph = mlp();
    const bad = change(graph, { ...chooseLayouts(graph, 1), degree: 2 }, 'Add', {
      input: [0, PARTIAL],
      output: PARTIAL,
    });
    expect(() => checkLayouts(graph, bad)).toThrow(/Add/);
  });

  it('refuses a partial form of something that is no sum, partial storage and sharded batch fields', () => {
    const graph = mlp();
    const base = { ...chooseLayouts(graph, 1), degree: 2 };
    const mean = change(graph, base, 'Mean', { input: [0, PARTIAL], output: PARTIAL });
    expect(() => checkLayouts(graph, mean)).toThrow(/no collective/);
    const stored = (value: number, layout: Layout): Assignment => ({
      ...base,
      layouts: base.layouts.map((old, at) => (at === value ? layout : old)),
    });
    expect(() => checkLayouts(graph, stored(graph.parameters[0]!.value, PARTIAL))).toThrow(/w1/);
    expect(() => checkLayouts(graph, stored(graph.inputs[0]!.value, shard(1, 4)))).toThrow(/batch field/);
    expect(() => checkLayouts(graph, stored(graph.parameters[0]!.value, shard(1, 7)))).toThrow(/does not split/);
  });

  it('refuses the assignment of another graph or degree', () => {
    const graph = mlp();
    const assignment = chooseLayouts(graph, 2, { prefer: 'shard' });
    expect(() => checkLayouts({ ...graph, nodes: graph.nodes.slice(1) }, assignment)).toThrow(/not of this graph/);
    expect(() => localise(graph, assignment, 4, 0)).toThrow(/no such rank/);
    expect(() => chooseLayouts(graph, 0)).toThrow(/config\/degrees/);
  });
});
