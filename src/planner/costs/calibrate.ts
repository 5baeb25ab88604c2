/** Measures a device through whatever runs single kernels on it, and fits the cost model to it. */
import { MerakError } from '../../errors.js';
import { leastSide, nodeBytes, nodeFlops } from '../../graph/cost.js';
import type { KernelCall } from '../../graph/kernelCall.js';
import type { CalibrationCalls } from './calibrationCalls.js';
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
export async function calibrateDevice(
  stopwatch: Stopwatch,
  measured: CalibrationCalls,
  { name, memoryBytes }: Pick<DeviceModel, 'name' | 'memoryBytes'>,
): Promise<DeviceModel> {
  const { launch, arithmetic, kernels } = measured;
  const thinCalls = measured.thinProducts.flatMap(({ calls }) => calls);
  const calls = [launch, ...measured.products.flat(), ...thinCalls, ...measured.vectors, arithmetic, ...kernels];
  const times = await stopwatch(calls);
  const known = new Map(calls.map((call, index) => [call, times[index] ?? null]));
  const secondsOf = (call: KernelCall) => {
    const seconds = known.get(call) ?? null;
    if (seconds === null) {
      throw new MerakError('engine/unsupported', `the device cannot run ${call.node.kernel} alone`);
    }
    return Math.max(seconds, 1e-9);
  };
  const launchSeconds = secondsOf(launch);
  const rate = (call: KernelCall, work: number) => {
    const seconds = secondsOf(call);
    return work / Math.max(seconds - launchSeconds, seconds * 0.1);
  };
  const sum = (all: readonly number[]) => all.reduce((total, one) => total + one, 0);
  const together = (orientations: readonly KernelCall[]) => {
    const flops = orientations.map(flopsOf);
    const seconds = orientations.map((call, index) => (flops[index] ?? 0) / rate(call, flops[index] ?? 0));
    return { size: sum(flops) / flops.length, rate: sum(flops) / sum(seconds) };
  };
  const products = measured.products.map(together);
  const thin = measured.thinProducts.map(({ side, calls: orientations }) => ({
    size: side,
    rate: together(orientations).rate,
  }));
  const largest = measured.products.at(-1)?.[0];
  const square = {
    size: largest === undefined ? 1 : (leastSide(largest.graph, largest.node) ?? 1),
    rate: products.at(-1)?.rate ?? 0,
  };
  const vectors = measured.vectors.map((call) => ({ size: bytesOf(call), rate: rate(call, bytesOf(call)) }));
  const own = kernels.filter((call) => (known.get(call) ?? null) !== null);
  return {
    name,
    productFlops: distinct(products),
    thinProductFlops: [...thin, square],
    kernelFlops: byKernel(own, (call) => rate(call, flopsOf(call))),
    vectorFlopsPerSecond: rate(arithmetic, flopsOf(arithmetic)),
    memoryBytesPerSecond: distinct(vectors),
    launchSeconds,
    memoryBytes,
  };
}

function byKernel(calls: readonly KernelCall[], rate: (call: KernelCall) => number): Record<string, RateCurve> {
  const curves: Record<string, { size: number; rate: number }[]> = {};
  for (const call of calls) {
    const { kernel } = call.node;
    const point = { size: leastSide(call.graph, call.node) ?? 1, rate: rate(call) };
    curves[kernel] = [...(curves[kernel] ?? []), point];
  }
  return curves;
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
