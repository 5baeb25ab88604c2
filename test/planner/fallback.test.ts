/** Kernels the engine lacks: named in the plan's report, and cut around in a function's graph. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { checkGraph } from '../../src/graph/check.js';
import type { Graph } from '../../src/graph/graph.js';
import { buildPlan } from '../../src/planner/buildPlan.js';
import { explainPlan, planReport } from '../../src/planner/explain.js';
import { partitionGraph } from '../../src/planner/fallback.js';
import { record } from '../../src/trace/record.js';
import { traced } from './training.js';

beforeAll(() => tf.setBackend('cpu'));

test('the report of a plan names them', () => {
  const w = tf.variable(tf.zeros([2]));
  const { train } = traced(
    ({ x }) => tf.mean(tf.selu(tf.add(x!, w))),
    [{ name: 'x', shape: [2], dtype: 'float32' }],
    3,
  );
  const plan = buildPlan({ train, optimizer: { kind: 'sgd' } });
  const used = new Set(
    plan.ranks[0]!.executables[0]!.programs.flatMap(({ nodes }) => nodes.map((node) => node.kernel)),
  );
  expect(planReport(plan, used).fallbackKernels).toEqual([]);
  used.delete('Selu');
  expect(planReport(plan, used).fallbackKernels).toEqual(['Selu']);
  expect(explainPlan(plan, undefined, used)).toMatch(/not on the native engine.*\n\s+Selu/);
  expect(planReport(plan).fallbackKernels).toEqual([]);
});

/** A random graph of additions and multiplications over two inputs and a constant. */
const graphs: fc.Arbitrary<Graph> = fc
  .array(fc.tuple(fc.nat(), fc.nat(), fc.boolean()), { minLength: 1, maxLength: 15 })
  .map((steps) =>
    record((recorder) => {
      const values = [recorder.input('a', [2], 'float32'), recorder.input('b', [2], 'float32'), tf.tensor1d([1, 2])];
      for (const [left, right, multiplies] of steps) {
        const [a, b] = [values[left % values.length]!, values[right % values.length]!];
        values.push(multiplies ? tf.mul(a, b) : tf.add(a, b));
      }
      return { outputs: values.slice(-2).map((value, index) => [`${index}`, value] as const) };
    }),
  );

test('every node is in one part, after the parts it reads from; parts are graphs', () => {
  fc.assert(
    fc.property(graphs, (graph) => {
      const { parts, outputs } = partitionGraph(graph, ({ kernel }) => kernel === 'Multiply');
      const made = new Set([...graph.inputs, ...graph.constants].map(({ value }) => value));
      for (const part of parts) {
        if (part.kind === 'host') {
          expect(part.node.kernel).toBe('Multiply');
          for (const id of part.inputs) expect(made.has(id)).toBe(true);
          for (const id of part.node.outputs) made.add(id);
        } else {
          checkGraph(part.graph);
          expect(part.graph.nodes.every(({ kernel }) => kernel === 'Add')).toBe(true);
          for (const { value } of part.graph.inputs) expect(made.has(value)).toBe(true);
          for (const { value } of part.graph.outputs) made.add(value);
        }
      }
      for (const { value } of outputs) expect(made.has(value)).toBe(true);
      const nodes = parts.flatMap((part) => (part.kind === 'host' ? [part.node] : part.graph.nodes));
      expect(new Set(nodes)).toEqual(new Set(graph.nodes));
      expect(nodes.length).toBe(graph.nodes.length);
      // Between host nodes of one level nothing native is needed: no two native parts in a row.
      expect(parts.some((part, i) => part.kind === 'native' && parts[i + 1]?.kind === 'native')).toBe(false);
    }),
    { numRuns: 50 },
  );
});
