/** Our chain of shards against the paper's, on a GPT traced from proxies. */
import { describe, expect, it } from 'vitest';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import { gpt } from '../../src/models/gpt.js';
import { consumersOf } from '../../src/partitioner/producers.js';
import { shardGraph } from '../../src/partitioner/shardGraph.js';
import { lazy } from '../../src/trace/lazy.js';
import { traceModel } from '../../src/trace/trace.js';
import { farthestMinDeps } from './farthestMinDeps.js';

const NUM_LAYERS = 6;
const fields = ['tokens', 'targets'].map((name) => ({ name, shape: [16], dtype: 'int32' as const }));
const model = lazy(() =>
  gpt({ vocabularySize: 64, contextLength: 16, numLayers: NUM_LAYERS, numHeads: 2, hiddenSize: 32 }),
);
const graph = optimizeGraph(traceModel(model, 'train', fields, 2).graph);

describe('the chain of shards', () => {
  // Shares below the parameters of an attention block, so that each block fills one.
  const paper = farthestMinDeps(graph, 4 * NUM_LAYERS);
  const ours = shardGraph(graph);

  it('the paper cuts where one tensor crosses: after each attention and each MLP', () => {
    const numShards = new Set(paper.shard).size;
    expect(numShards).toBeGreaterThanOrEqual(2 * NUM_LAYERS);
    const consumers = consumersOf(graph);
    const shardOf = new Map(paper.order.map((node, at) => [node, paper.shard[at]!]));
    for (let cut = 0; cut < numShards - 1; cut++) {
      const crossing = paper.order.flatMap((node) =>
        shardOf.get(node)! > cut
          ? []
          : graph.nodes[node]!.outputs.filter(
              (value) => !paper.isWide(value) && consumers[value]!.some((reader) => (shardOf.get(reader) ?? -1) > cut),
            ),
      );
      expect(crossing.length, `cut ${cut}`).toBeLessThanOrEqual(1);
    }
  });

  it('every cut of the paper between blocks is one of ours', () => {
    const ends = new Set<number>();
    paper.order.forEach((node, at) => {
      if (paper.shard[at + 1] !== undefined && paper.shard[at + 1] !== paper.shard[at]) ends.add(node);
    });
    // A cut of the paper lies right after a node; ours separates that node from what reads it.
    const consumers = consumersOf(graph);
    const separated = [...ends].filter((node) =>
      graph.nodes[node]!.outputs.some((value) =>
        consumers[value]!.some((reader) => ours.shardOfNode[reader]! > ours.shardOfNode[node]!),
      ),
    );
    expect(separated.length).toBeGreaterThanOrEqual(2 * NUM_LAYERS);
    expect(ours.numShards).toBeGreaterThanOrEqual(2 * NUM_LAYERS);
  });
});
