/** A tensor-parallel layout in words and numbers, for `merak plan`. */
import type { Graph } from '../graph/graph.js';
import type { Assignment } from './assignment.js';
import { REPLICATE } from './layout.js';
import { localise } from './localise.js';
import { describeLayout, localShape, product } from './shards.js';

export interface ParameterSummary {
  readonly name: string;
  readonly shape: readonly number[];
  /** 'replicate', 'shard(dim 1, 3 parts)', ... */
  readonly layout: string;
  readonly localShape: readonly number[];
  /** Bytes of the value on one rank. */
  readonly localBytes: number;
}

/** Exchanges of one kind at one place of the model, per micro-batch. */
export interface CollectiveSummary {
  readonly kernel: string;
  readonly scope: string;
  readonly shape: readonly number[];
  /** Size of the whole tensor exchanged in the forward and in the backward pass; 0 where nothing is. */
  readonly forwardBytes: number;
  readonly backwardBytes: number;
}

export interface LayoutSummary {
  readonly degree: number;
  readonly parameters: readonly ParameterSummary[];
  readonly collectives: readonly CollectiveSummary[];
  readonly parameterBytesPerRank: number;
  readonly parameterBytes: number;
  /** Of one micro-batch. */
  readonly forwardBytes: number;
  readonly backwardBytes: number;
  readonly predictedSeconds: number;
}

const BYTES = 4;

/** Summarises what an assignment means for one rank. */
export function summariseLayouts(graph: Graph, assignment: Assignment): LayoutSummary {
  const { degree } = assignment;
  const parameters = graph.parameters.map(({ name, value }): ParameterSummary => {
    const { shape } = graph.values[value] ?? { shape: [] };
    const layout = assignment.layouts[value] ?? REPLICATE;
    const local = localShape(layout, shape, degree);
    return {
      name,
      shape,
      layout: describeLayout(layout, shape),
      localShape: local,
      localBytes: product(local) * BYTES,
    };
  });
  const collectives = degree === 1 ? [] : collectivesOf(localise(graph, assignment, degree, 0), assignment.training);
  const total = (bytes: readonly number[]): number => bytes.reduce((sum, one) => sum + one, 0);
  return {
    degree,
    parameters,
    collectives,
    parameterBytesPerRank: total(parameters.map(({ localBytes }) => localBytes)),
    parameterBytes: total(parameters.map(({ shape }) => product(shape) * BYTES)),
    forwardBytes: total(collectives.map(({ forwardBytes }) => forwardBytes)),
    backwardBytes: total(collectives.map(({ backwardBytes }) => backwardBytes)),
    predictedSeconds: assignment.seconds,
  };
}

/** The collectives of a local graph. An all-reduce's gradient is free, a fan-out's is an all-reduce; and so on. */
function collectivesOf(local: Graph, training: boolean): CollectiveSummary[] {
  return local.nodes.flatMap((node) => {
    const [input, output] = [node.inputs[0] ?? -1, node.outputs[0] ?? -1].map((id) => local.values[id]?.shape ?? []);
    const whole = (shape: readonly number[] | undefined): number => product(shape ?? []) * BYTES;
    const summary = (shape: readonly number[], forwardBytes: number, backwardBytes: number): CollectiveSummary[] => {
      const { kernel, scope } = node;
      return [{ kernel, scope, shape, forwardBytes, backwardBytes: training ? backwardBytes : 0 }];
    };
    if (node.kernel === 'MerakAllReduce') return summary(output ?? [], whole(output), 0);
    if (node.kernel === 'MerakFanOut') return summary(output ?? [], 0, whole(output));
    if (node.kernel === 'MerakAllGather') return summary(output ?? [], whole(output), 0);
    if (node.kernel === 'MerakShard') return summary(input ?? [], 0, whole(input));
    // Its three all-reduces: the maximum, the sum of exponentials and the target's logit of every row.
    if (node.kernel === 'MerakVocabParallelCrossEntropy') return summary(output ?? [], 3 * whole(output), 0);
    return [];
  });
}

/** The summary as lines of text. */
export function describeLayouts(summary: LayoutSummary): string {
  const { degree, parameters, collectives } = summary;
  const widest = Math.max(0, ...parameters.map(({ name }) => name.length));
  const lines = [
    `tensor parallel over ${degree} ${degree === 1 ? 'rank' : 'ranks'}: ` +
      `${megabytes(summary.parameterBytesPerRank)} of ${megabytes(summary.parameterBytes)} of parameters on each`,
  ];
  for (const { name, shape, layout, localShape: local, localBytes } of parameters) {
    const shapes = layout === 'replicate' ? `[${shape.join(', ')}]` : `[${shape.join(', ')}] -> [${local.join(', ')}]`;
    lines.push(`  ${name.padEnd(widest)}  ${layout}  ${shapes}  ${megabytes(localBytes)}`);
  }
  lines.push(
    `  per micro-batch: ${megabytes(summary.forwardBytes)} exchanged forward, ${megabytes(summary.backwardBytes)} backward`,
  );
  for (const [what, { count, forward, backward }] of grouped(collectives)) {
    lines.push(`    ${count} x ${what}: ${megabytes(forward)} forward, ${megabytes(backward)} backward`);
  }
  return lines.join('\n');
}

function grouped(collectives: readonly CollectiveSummary[]) {
  const groups = new Map<string, { count: number; forward: number; backward: number }>();
  for (const { kernel, shape, forwardBytes, backwardBytes } of collectives) {
    const key = `${kernel} [${shape.join(', ')}]`;
    const group = groups.get(key) ?? { count: 0, forward: 0, backward: 0 };
    groups.set(key, {
      count: group.count + 1,
      forward: group.forward + forwardBytes,
      backward: group.backward + backwardBytes,
    });
  }
  return groups;
}

function megabytes(bytes: number): string {
  return bytes < 1e5 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`;
}
