/** Partitioning: the DP against brute force, and stages that together compute what the whole graph computes. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { MerakError } from '../../src/errors.js';
import { checkGraph } from '../../src/graph/check.js';
import type { Graph } from '../../src/graph/graph.js';
import { replayGraph } from '../../src/graph/replay.js';
import { assignByParameters } from '../../src/partitioner/assignByParameters.js';
import { assignByCost, parameterBytesOf, requireShards } from '../../src/partitioner/assignStages.js';
import { extractStages } from '../../src/partitioner/extractStages.js';
import { shardGraph } from '../../src/partitioner/shardGraph.js';
import type { Stage } from '../../src/partitioner/stage.js';
import { graphOf, recipes } from './graphs.js';

beforeAll(() => tf.setBackend('cpu'));

function partitions(numShards: number, numStages: number): number[][] {
  if (numStages === 1) return [Array.from({ length: numShards }, () => 0)];
  const all: number[][] = [];
  for (let first = 1; first <= numShards - numStages + 1; first++) {
    for (const rest of partitions(numShards - first, numStages - 1)) {
      all.push([...Array.from({ length: first }, () => 0), ...rest.map((stage) => stage + 1)]);
    }
  }
  return all;
}

/** Worst over the stages of an assignment. */
function worstOf(assignment: readonly number[], cost: (stage: number, from: number, to: number) => number): number {
  return Math.max(
    ...[...new Set(assignment)].map((stage) =>
      cost(stage, assignment.indexOf(stage), assignment.lastIndexOf(stage) + 1),
    ),
  );
}

describe('assignByCost', () => {
  it('is the best of all partitions, then the lightest of the best, with impossible runs left out', () => {
    const problem = fc.integer({ min: 1, max: 8 }).chain((numShards) =>
      fc.record({
        numShards: fc.constant(numShards),
        numStages: fc.integer({ min: 1, max: numShards }),
        seconds: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: numShards, maxLength: numShards }),
        parameters: fc.array(fc.array(fc.nat(3), { maxLength: 2 }), { minLength: numShards, maxLength: numShards }),
        longest: fc.integer({ min: 1, max: 8 }),
      }),
    );
    fc.assert(
      fc.property(problem, ({ numShards, numStages, seconds, parameters, longest }) => {
        const bytes = parameterBytesOf(parameters, [8, 4, 2, 1]);
        const base = (_: number, from: number, to: number) => seconds.slice(from, to).reduce((a, b) => a + b, 0);
        // The last stage runs at another speed, and no stage may hold more than `longest` shards.
        const cost = (stage: number, from: number, to: number) =>
          to - from > longest ? Number.POSITIVE_INFINITY : base(stage, from, to) * (stage === numStages - 1 ? 1 : 2);
        const found = assignByCost(numShards, numStages, cost, bytes, base);
        const all = partitions(numShards, numStages).filter((one) => Number.isFinite(worstOf(one, cost)));
        expect(found.length).toBe(all.length > 0 ? numShards : 0);
        if (all.length === 0) return;
        const best = Math.min(...all.map((assignment) => worstOf(assignment, cost)));
        expect(worstOf(found, cost)).toBe(best);
        const weight = (assignment: readonly number[]) => worstOf(assignment, (_, from, to) => bytes(from, to));
        const fastest = all.filter((assignment) => worstOf(assignment, cost) === best);
        expect(weight(found)).toBe(Math.min(...fastest.map(weight)));
      }),
      { numRuns: 200 },
    );
  });

  it('says how many stages there can be', () => {
    try {
      requireShards(3, 5);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(MerakError);
      expect(error).toMatchObject({ code: 'plan/too-many-stages', expected: 'at most 3', received: '5' });
    }
  });

  it('cuts 200 shards into 64 stages at once', () => {
    const seconds = Array.from({ length: 200 }, (_, i) => 1 + ((i * 7) % 5));
    const base = (_: number, from: number, to: number) => seconds.slice(from, to).reduce((a, b) => a + b, 0);
    const found = assignByCost(200, 64, base, (from, to) => to - from, base);
    expect(new Set(found).size).toBe(64);
    expect(worstOf(found, base)).toBeLessThan(15);
  });
});

/** Runs the stages one after the other, handing over what each sends. */
function runStages(
  stages: readonly Stage[],
  whole: Graph,
  tensors: Record<string, tf.Tensor>,
  parameters: tf.Tensor[],
) {
  let sent: tf.Tensor[] = [];
  const updates: [number, tf.Tensor][] = [];
  for (const { graph, parameterOf } of stages) {
    checkGraph(graph);
    const received = Object.fromEntries(sent.map((tensor, k) => [`received/${k}`, tensor]));
    const result = replayGraph(graph, {
      inputs: { ...tensors, ...received },
      parameters: parameterOf.map((index) => parameters[index]!),
    });
    sent = graph.outputs.map(({ name }) => result.outputs[name]!);
    updates.push(
      ...graph.updates.map(({ parameter }, i): [number, tf.Tensor] => [parameterOf[parameter]!, result.updates[i]!]),
    );
  }
  return { outputs: Object.fromEntries(whole.outputs.map(({ name }, i) => [name, sent[i]!])), updates };
}

function expectSame(graph: Graph, stages: readonly Stage[]): void {
  tf.tidy(() => {
    const random = (shape: readonly number[], seed: number) => tf.randomNormal([...shape], 0, 0.5, 'float32', seed);
    const tensors = Object.fromEntries(
      graph.inputs.map(({ name, value }, i) => [name, random(graph.values[value]!.shape, i + 1)]),
    );
    const parameters = graph.parameters.map(({ value }, i) => random(graph.values[value]!.shape, 10 + i));
    const whole = replayGraph(graph, { inputs: tensors, parameters });
    const parts = runStages(stages, graph, tensors, parameters);
    for (const [name, tensor] of Object.entries(whole.outputs)) {
      expect([...parts.outputs[name]!.dataSync()]).toEqual([...tensor.dataSync()]);
    }
    expect(parts.updates.map(([parameter]) => parameter)).toEqual(graph.updates.map(({ parameter }) => parameter));
    parts.updates.forEach(([, tensor], i) => {
      expect([...tensor.dataSync()]).toEqual([...whole.updates[i]!.dataSync()]);
    });
  });
}

describe('shardGraph and extractStages', () => {
  it('any number of stages computes what the whole graph does, to the bit', () => {
    fc.assert(
      fc.property(recipes, fc.integer({ min: 1, max: 6 }), (steps, wanted) => {
        const graph = graphOf(steps);
        const shards = shardGraph(graph, { atLeast: wanted });
        expect(shards.cutBytes).toHaveLength(shards.numShards - 1);
        const numStages = Math.min(wanted, shards.numShards);
        const one = (_: number, from: number, to: number) => to - from;
        const stageOfShard = assignByCost(shards.numShards, numStages, one, (from, to) => to - from);
        const stageOfNode = shards.shardOfNode.map((shard) => stageOfShard[shard]!);
        const stages = extractStages(graph, stageOfNode, numStages);
        stages.forEach((stage, index) => {
          // Batch fields are never sent.
          const fields = stage.graph.inputs.filter(({ name }) => !name.startsWith('received/'));
          expect(fields.every(({ name }) => name === 'x' || name === 'y')).toBe(true);
          const next = stages[index + 1];
          if (next === undefined) return;
          const received = next.graph.inputs.filter(({ name }) => name.startsWith('received/'));
          expect(stage.graph.outputs.map(({ value }) => stage.graph.values[value])).toEqual(
            received.map(({ value }) => next.graph.values[value]),
          );
        });
        expectSame(graph, stages);
        // The same graph again, its stages given by who holds which parameter.
        const owners = graph.parameters.map((_, p) =>
          stages.flatMap((s) => (s.parameterOf.includes(p) ? [s.stage] : [])),
        );
        const followed = assignByParameters(graph, owners, numStages);
        expectSame(graph, extractStages(graph, followed.stageOfNode, numStages));
      }),
      { numRuns: 60 },
    );
  });

  it('cuts a deep narrow network anywhere between its layers', () => {
    const dense = { kind: 'dense', a: 1, b: 1 } as const;
    const relu = { kind: 'relu', a: 1, b: 1, parameter: 0 } as const;
    const graph = graphOf(Array.from({ length: 6 }, (_, i) => [{ ...dense, parameter: i }, relu]).flat());
    expect(shardGraph(graph).numShards).toBe(6);
  });

  it('parameters nobody holds yet, or only an earlier stage, become copies', () => {
    const graph = graphOf([0, 1, 0].map((parameter) => ({ kind: 'dense', a: 1, b: 1, parameter }) as const));
    const { copies, stageOfNode } = assignByParameters(graph, [[0], [1], []], 2);
    expect(copies).toEqual([[0, 1]]);
    expectSame(graph, extractStages(graph, stageOfNode, 2));
  });
});
