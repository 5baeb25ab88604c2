/** A computing device as the cost model sees it. */
import type { RateCurve } from './rates.js';

export interface DeviceModel {
  readonly name: string;
  /** Matrix products and convolutions: FLOP/s, by the FLOPs of one. */
  readonly productFlops: RateCurve;
  /** Matrix products with one short side: FLOP/s, by that side (graph/cost.ts, leastSide). Absent: it does not matter. */
  readonly thinProductFlops?: RateCurve | undefined;
  /**
   * Kernels measured by themselves: FLOP/s, of convolutions by their channels (leastSide). Others are like products, or like
   * everything else.
   */
  readonly kernelFlops?: Readonly<Record<string, RateCurve>> | undefined;
  /** Everything else: FLOP/s as graph/cost.ts counts them. */
  readonly vectorFlopsPerSecond: number;
  /** Bytes read and written per second, by the bytes of one kernel. */
  readonly memoryBytesPerSecond: RateCurve;
  /** Of one kernel call, whatever its size. */
  readonly launchSeconds: number;
  readonly memoryBytes: number;
}

/** Arithmetic of matrix products; everything else is float32. */
export type Precision = 'float32' | 'tf32' | 'bfloat16';

/** What a vendor's data sheet says of a device: peaks, dense (without sparsity). */
export interface DataSheet {
  readonly name: string;
  readonly vendorName: string;
  /** What the driver's names of such cards match; absent: it is no card. */
  readonly cardName?: RegExp;
  readonly peakFlops: Readonly<Record<Precision, number>>;
  readonly memoryBytesPerSecond: number;
  readonly memoryBytes: number;
  readonly source: string;
  /** The vendor's own sheet, where pages that quote it name its address; it was not to be had here, so figures were checked at `page`. */
  readonly sheet?: string;
  /** A page at which figures of the source were checked (2026-11-28); undefined for what was measured. */
  readonly page?: string;
}
