/**
 * Each kernel of a GPT's training step alone on the card, beside its roofline: what its bytes (inputs read once, outputs written once) and
 * operations take at the rates measured in the same run. One argument, the job as JSON; prints a JSON line of rows, the largest share of
 * the step first. Without a card (`device: 'native'`) the processor's kernels stand in, for a dry run.
 */
import * as tf from '@tensorflow/tfjs';
import { nodeFlops } from '../../src/graph/cost.js';
import type { Graph, Node } from '../../src/graph/graph.js';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import * as merak from '../../src/index.js';
import { ensureKernels } from '../../src/kernels/register.js';
import type { Program } from '../../src/plan/plan.js';
import { buildPlan } from '../../src/planner/buildPlan.js';
import type { HostArray } from '../../src/runtime/device.js';
import { type Addon, loadAddon, type NodeSpec } from '../../src/runtime/native/addon.js';
import { traceModel } from '../../src/trace/trace.js';

interface Job {
  readonly device: 'cuda' | 'native';
  readonly precision: 'f32' | 'bf16';
  readonly batchSize: number;
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly hiddenSize: number;
  /** Rates to compare with. */
  readonly bytesPerSecond: number;
  readonly flopsPerSecond: number;
  readonly seconds: number;
}

interface Row {
  readonly kernel: string;
  readonly shapes: string;
  readonly count: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly flops: number;
  /** Of the time that the roofline allows: 1 is as fast as can be. */
  readonly share: number;
}

/** Reads the rows that ids name, not the whole table. */
const READS_ROWS = new Set(['MerakEmbedding', 'GatherV2', 'GatherNd']);

/** They meet other ranks, or write where they read. */
const NOT_ALONE = new Set(['MerakAllReduce', 'MerakAllGather', 'MerakAccumulate', 'MerakAssign']);

const job: Job = JSON.parse(process.argv[2] ?? '{}');
await tf.setBackend('cpu');
ensureKernels('cpu');
const { vocabularySize, contextLength, numLayers, numHeads, hiddenSize } = job;
const model = merak.lazy(() =>
  merak.models.gpt({ vocabularySize, contextLength, numLayers, numHeads, hiddenSize, seed: 1 }),
);
const fields = (['tokens', 'targets'] as const).map((name) => ({
  name,
  shape: [contextLength],
  dtype: 'int32' as const,
}));
const plan = buildPlan({
  train: optimizeGraph(traceModel(model, 'train', fields, job.batchSize).graph),
  optimizer: { kind: 'adam', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
  clipNorm: 0,
  precision: job.precision,
  fusesChains: job.device === 'cuda',
  seed: 1,
  microBatchSize: job.batchSize,
  numMicroBatches: 1,
  mesh: { dp: 1, tp: 1, pp: 1 },
});

interface Distinct {
  readonly spec: NodeSpec;
  readonly flops: number;
  count: number;
}
const distinct = new Map<string, Distinct>();
for (const program of plan.ranks[0]?.executables[0]?.programs ?? [])
  for (const node of program.nodes) note(program, node);

function note(program: Program, node: Program['nodes'][number]): void {
  if (NOT_ALONE.has(node.kernel) || isView(program, node)) return;
  const typesOf = (ids: readonly number[]) =>
    ids.map((id) => ({ shape: program.values[id]!.shape, dtype: program.values[id]!.dtype }));
  const { kernel, inputNames, attrs } = node;
  const spec = { kernel, inputs: typesOf(node.inputs), inputNames, outputs: typesOf(node.outputs), attrs } as NodeSpec;
  const key = JSON.stringify(spec);
  const known = distinct.get(key);
  if (known !== undefined) {
    known.count++;
    return;
  }
  // The cost of a node asks for shapes only.
  distinct.set(key, {
    spec,
    count: 1,
    flops: nodeFlops({ values: program.values } as unknown as Graph, node as unknown as Node),
  });
}

/** Whether the result is its input under another shape: nothing moves. */
function isView({ values }: Program, { inputs, outputs }: Program['nodes'][number]): boolean {
  const [from, to] = [values[inputs[0] ?? -1], values[outputs[0] ?? -1]];
  return from !== undefined && to !== undefined && from.space === to.space && from.offset === to.offset;
}

/** The least that must move: inputs read once, outputs written once. */
function leastBytes({ kernel, inputs, outputs }: NodeSpec): number {
  const bytesOf = (types: NodeSpec['inputs']) =>
    types.reduce((sum, { shape, dtype }) => sum + sizeOf(shape) * (WIDTH[dtype] ?? 4), 0);
  return READS_ROWS.has(kernel) ? 2 * bytesOf(outputs) + bytesOf(inputs.slice(1)) : bytesOf(inputs) + bytesOf(outputs);
}

const addon = loadAddon();
type Timed = Addon['runKernel'];
const onCard = (addon as unknown as { runCudaKernel?: Timed }).runCudaKernel;
const runNode: Timed = job.device === 'cuda' && onCard !== undefined ? onCard : addon.runKernel;

const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);
const WIDTH: Readonly<Record<string, number>> = { float32: 4, int32: 4, bool: 1, int8: 1, bfloat16: 2 };

/** A short run of numbers, repeated: random enough for arithmetic, and quick to make. */
function sample({ shape, dtype }: { readonly shape: readonly number[]; readonly dtype: string }): HostArray {
  const length = sizeOf(shape);
  const array =
    dtype === 'bfloat16'
      ? new Uint16Array(length)
      : dtype === 'int32'
        ? new Int32Array(length)
        : dtype === 'float32'
          ? new Float32Array(length)
          : new Uint8Array(length);
  const begin = Math.min(length, 65_521);
  for (let i = 0; i < begin; i++) {
    const x = (((i * 7919) % 1009) / 1009 - 0.5) * 2;
    // Of bfloat16: numbers of either sign between a half and one.
    array[i] = dtype === 'float32' ? x : dtype === 'bfloat16' ? 0x3f00 | (i % 128) | ((i % 2) << 15) : i % 2;
  }
  for (let filled = begin; filled < length; filled *= 2) array.copyWithin(filled, 0, Math.min(filled, length - filled));
  return array as HostArray;
}

const rows: Row[] = [];
const failures: { kernel: string; message: string }[] = [];
const deadline = performance.now() + job.seconds * 1000;
let numLeft = 0;
for (const { spec, count, flops } of distinct.values()) {
  if (performance.now() > deadline) {
    numLeft++;
    continue;
  }
  try {
    const result = runNode(spec, spec.inputs.map(sample), { repeat: 20 });
    const seconds = Number(result.at(-1));
    const bytes = leastBytes(spec);
    const share = Math.max(bytes / job.bytesPerSecond, flops / job.flopsPerSecond) / seconds;
    const shapes = spec.inputs.map(({ shape, dtype }) => `${dtype}[${shape}]`).join(' ');
    rows.push({ kernel: spec.kernel, shapes, count, seconds, bytes, flops, share });
  } catch (error) {
    failures.push({ kernel: spec.kernel, message: String((error as Error).message).split('\n')[0] ?? '' });
  }
}
rows.sort((a, b) => b.seconds * b.count - a.seconds * a.count);
console.log(JSON.stringify({ rows, failures, numLeft }));
