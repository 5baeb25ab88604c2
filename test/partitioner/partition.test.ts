/** Partitioning: the DP against brute force, and stages that together compute what the whole graph computes. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { MerakError } from '../../src/errors.js';
import { checkGraph } from '../../src/graph/check.js';
import type { Graph } from '../../src/graph/graph.js';
import { replayGraph } from '../../src/graph/replay.js';
import { assignByParameters } from '../../src/partitioner/assignByParameters.js';
import { assignStages, slowestStageSeconds } from '../../src/partitioner/assignStages.js';
import { type ShardCosts, shardCosts } from '../../src/partitioner/costs.js';
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

const stageBytes = (costs: ShardCosts, assignment: readonly number[]) =>
  Math.max(
    ...[...new Set(assignment)].map((stage) => {
      const held = new Set(assignment.flatMap((s, shard) => (s === stage ? (costs.parameters[shard] ?? []) : [])));
      return [...held].reduce((sum, parameter) => sum + costs.parameterBytes[parameter]!, 0);
    }),
  );

describe('assignStages', () => {
  it('is the best of all partitions, then the lightest of the best', () => {
    const problem = fc.integer({ min: 1, max: 8 }).chain((numShards) =>
      fc.record({
        numShards: fc.constant(numShards),
        numStages: fc.integer({ min: 1, max: numShards }),
        seconds: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: numShards, maxLength: numShards }),
        cuts: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: numShards - 1, maxLength: numShards - 1 }),
        parameters: fc.array(fc.array(fc.nat(3), { maxLength: 2 }), { minLength: numShards, maxLength: numShards }),
        lastIsCheaper: fc.boolean(),
      }),
    );
    fc.assert(
      fc.property(problem, ({ numShards, numStages, seconds, cuts, parameters, lastIsCheaper }) => {
        const costs: ShardCosts = {
          seconds: Array.from({ length: numStages }, (_, stage) =>
            seconds.map((cost) => cost * (lastIsCheaper && stage === numStages - 1 ? 3 : 4)),
          ),
          cutSeconds: cuts,
          parameters,
          parameterBytes: [8, 4, 2, 1],
        };
        const shards = { numShards, shardOfNode: [], cutBytes: cuts };
        const found = assignStages(shards, costs, numStages);
        expect(new Set(found).size).toBe(numStages);
        const all = partitions(numShards, numStages);
        const best = Math.min(...all.map((assignment) => slowestStageSeconds(costs, assignment)));
        expect(slowestStageSeconds(costs, found)).toBe(best);
        const fastest = all.filter((assignment) => slowestStageSeconds(costs, assignment) === best);
        expect(stageBytes(costs, found)).toBe(Math.min(...fastest.map((assignment) => stageBytes(costs, assignment))));
      }),
      { numRuns: 200 },
    );
  });

  it('says how many stages there can be', () => {
    const shards = { numShards: 3, shardOfNode: [], cutBytes: [1, 1] };
    const costs = { seconds: [], cutSeconds: [], parameters: [], parameterBytes: [] };
    try {
      assignStages(shards, costs, 5);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(MerakError);
      expect(error).toMatchObject({ code: 'plan/too-many-stages', expected: 'at most 3', received: '5' });
    }
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
        const costs = shardCosts(
          graph,
          shards,
          Array.from({ length: numStages }, () => false),
        );
        const stageOfShard = assignStages(shards, costs, numStages);
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
