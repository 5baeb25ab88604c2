/** Measures a device through whatever runs single kernels on it, and fits the cost model to it. */
import { MerakError } from '../../errors.js';
import { nodeBytes, nodeFlops } from '../../graph/cost.js';
import type { Attrs, Graph, Node } from '../../graph/graph.js';
import type { DeviceModel } from './device.js';
import type { NodeTimer } from './operatorCosts.js';
import type { RateCurve } from './rates.js';

/** Sides of the square products measured. */
const PRODUCT_SIDES = [16, 32, 64, 128, 256, 512, 1024] as const;
/** A layer's product forward, for its input's gradient and for its weight's: training runs each as often. */
const ORIENTATIONS = [
  { transposeA: false, transposeB: false },
  { transposeA: false, transposeB: true },
  { transposeA: true, transposeB: false },
] as const;
/** Samples, positions, heads and size of a head in the attention measured. */
const ATTENTION_SHAPE = [4, 128, 6, 64] as const;
/** Elements of the vectors added: from first-level cache to main memory. */
const VECTOR_LENGTHS = [1 << 10, 1 << 13, 1 << 16, 1 << 19, 1 << 22, 1 << 24] as const;
/** Long enough to hide the launch, short enough to stay in cache: time is arithmetic. */
const ARITHMETIC_LENGTH = 1 << 13;

/**
 * Rates exclude the launch, which is the time of adding two scalars. A kernel whose time is all launch keeps the rate of
 * the next larger one.
 *
 * @throws MerakError 'engine/unsupported' when the timer cannot run a kernel.
 */
export function calibrateDevice(timer: NodeTimer, name: string, memoryBytes: number): DeviceModel {
  const launchSeconds = measure(timer, call('Add', { a: [1], b: [1] }, [[1]])).seconds;
  const rate = (one: Measured, work: number) => work / Math.max(one.seconds - launchSeconds, one.seconds * 0.1);
  const products = PRODUCT_SIDES.map((n) => {
    const runs = ORIENTATIONS.map((attrs) =>
      measure(timer, call('BatchMatMul', { a: [n, n], b: [n, n] }, [[n, n]], attrs)),
    );
    const flops = runs.reduce((sum, one) => sum + one.flops, 0) / runs.length;
    return { size: flops, rate: runs.length / runs.reduce((sum, one) => sum + 1 / rate(one, one.flops), 0) };
  });
  const vectors = VECTOR_LENGTHS.map((n) => {
    const one = measure(timer, call('Add', { a: [n], b: [n] }, [[n]]));
    return { size: one.bytes, rate: rate(one, one.bytes) };
  });
  const tanh = measure(timer, call('Tanh', { x: [ARITHMETIC_LENGTH] }, [[ARITHMETIC_LENGTH]]));
  return {
    name,
    productFlops: distinct(products),
    attentionFlops: attentionRates(timer, rate),
    vectorFlopsPerSecond: rate(tanh, tanh.flops),
    memoryBytesPerSecond: distinct(vectors),
    launchSeconds,
    memoryBytes,
  };
}

/** Undefined where the timer knows no attention. */
function attentionRates(
  timer: NodeTimer,
  rate: (one: Measured, work: number) => number,
): DeviceModel['attentionFlops'] {
  const [samples, length, heads, size] = ATTENTION_SHAPE;
  const [x, rows] = [
    [samples, length, heads, size],
    [samples, heads, length],
  ];
  const attrs = { causal: true, scale: 1 / Math.sqrt(size) };
  const inputs = { q: x, k: x, v: x };
  const calls = [
    call('MerakAttention', inputs, [x, rows], attrs),
    call('MerakAttentionGrad', { dy: x, ...inputs, out: x, logsumexp: rows }, [x, x, x], attrs),
  ];
  if (calls.some(({ graph, node }) => timer(graph, node) === null)) return undefined;
  const [forward = 0, gradient = 0] = calls.map((one) => {
    const measured = measure(timer, one);
    return rate(measured, measured.flops);
  });
  return { forward, gradient };
}

interface Measured {
  readonly seconds: number;
  readonly flops: number;
  readonly bytes: number;
}

type Call = { readonly graph: Graph; readonly node: Node };

function measure(timer: NodeTimer, { graph, node }: Call): Measured {
  const seconds = timer(graph, node);
  if (seconds === null) throw new MerakError('engine/unsupported', `the device cannot run ${node.kernel} alone`);
  return { seconds: Math.max(seconds, 1e-9), flops: nodeFlops(graph, node), bytes: nodeBytes(graph, node) };
}

/** A graph of one kernel call on float32 tensors. */
function call(
  kernel: string,
  inputs: Readonly<Record<string, readonly number[]>>,
  outputs: readonly (readonly number[])[],
  attrs: Attrs = {},
): Call {
  const numInputs = Object.keys(inputs).length;
  const shapes = [...Object.values(inputs), ...outputs];
  const node: Node = {
    kernel,
    inputs: Object.keys(inputs).map((_, index) => index),
    inputNames: Object.keys(inputs),
    outputs: outputs.map((_, index) => numInputs + index),
    attrs,
    scope: '',
  };
  const values = shapes.map((shape) => ({ shape, dtype: 'float32' as const, batchDim: -1 }));
  const none = { inputs: [], parameters: [], constants: [], outputs: [], updates: [] };
  return { node, graph: { values, nodes: [node], ...none } };
}

function distinct(curve: RateCurve): RateCurve {
  return curve.filter(({ size }, index) => index === 0 || size > (curve[index - 1]?.size ?? 0));
}
