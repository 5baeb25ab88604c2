/** Measures a device through whatever runs single kernels on it, and fits the cost model to it. */
import { MerakError } from '../../errors.js';
import { nodeBytes, nodeFlops } from '../../graph/cost.js';
import type { KernelCall } from '../../graph/kernelCall.js';
import { ARITHMETIC, KERNELS, LAUNCH, PRODUCTS, VECTORS } from './calibrationCalls.js';
import type { DeviceModel } from './device.js';
import type { RateCurve } from './rates.js';

/** Seconds of each call, null for what the device cannot run alone. */
export type Stopwatch = (calls: readonly KernelCall[]) => Promise<readonly (number | null)[]>;

/**
 * Rates exclude the launch, which is the time of adding two scalars. A kernel whose time is all launch keeps the rate of
 * the next larger one. Kernels that the stopwatch does not know have no rate of their own.
 *
 * @throws MerakError 'engine/unsupported' when it cannot run products and sums.
 */
export async function calibrateDevice(stopwatch: Stopwatch, name: string, memoryBytes: number): Promise<DeviceModel> {
  const calls = [LAUNCH, ...PRODUCTS.flat(), ...VECTORS, ARITHMETIC, ...KERNELS];
  const times = await stopwatch(calls);
  const known = new Map(calls.map((call, index) => [call, times[index] ?? null]));
  const secondsOf = (call: KernelCall) => {
    const seconds = known.get(call) ?? null;
    if (seconds === null) {
      throw new MerakError('engine/unsupported', `the device cannot run ${call.node.kernel} alone`);
    }
    return Math.max(seconds, 1e-9);
  };
  const launchSeconds = secondsOf(LAUNCH);
  const rate = (call: KernelCall, work: number) => {
    const seconds = secondsOf(call);
    return work / Math.max(seconds - launchSeconds, seconds * 0.1);
  };
  const products = PRODUCTS.map((orientations) => {
    const flops = orientations.map(flopsOf);
    const seconds = orientations.map((call, index) => (flops[index] ?? 0) / rate(call, flops[index] ?? 0));
    const sum = (all: readonly number[]) => all.reduce((total, one) => total + one, 0);
    return { size: sum(flops) / flops.length, rate: sum(flops) / sum(seconds) };
  });
  const vectors = VECTORS.map((call) => ({ size: bytesOf(call), rate: rate(call, bytesOf(call)) }));
  const own = KERNELS.filter((call) => (known.get(call) ?? null) !== null);
  return {
    name,
    productFlops: distinct(products),
    kernelFlops: Object.fromEntries(own.map((call) => [call.node.kernel, rate(call, flopsOf(call))])),
    vectorFlopsPerSecond: rate(ARITHMETIC, flopsOf(ARITHMETIC)),
    memoryBytesPerSecond: distinct(vectors),
    launchSeconds,
    memoryBytes,
  };
}

function flopsOf({ graph, node }: KernelCall): number {
  return nodeFlops(graph, node);
}

function bytesOf({ graph, node }: KernelCall): number {
  return nodeBytes(graph, node);
}

function distinct(curve: RateCurve): RateCurve {
  return curve.filter(({ size }, index) => index === 0 || size > (curve[index - 1]?.size ?? 0));
}
