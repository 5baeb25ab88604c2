/** What `merak profile` measured of a machine: its processor, its cards, what joins ranks. Replaces entries of the tables. */
import { z } from 'zod';
import { MerakError } from '../../errors.js';
import type { Link } from '../../pipeline/network.js';
import type { DeviceModel } from './device.js';

/** Grows with what is measured. */
export const PROFILE_VERSION = 3;

const positive = z.number().positive();
const curve = z
  .array(z.strictObject({ size: positive, rate: positive }))
  .min(1)
  .refine((points) => points.every(({ size }, i) => i === 0 || size > (points[i - 1]?.size ?? 0)), {
    message: 'sizes must ascend',
  });
const link = z.strictObject({ name: z.string(), latencySeconds: z.number().min(0), bytesPerSecond: positive });
const links = z.strictObject({ messages: link, allReduce: link });
const device = z.strictObject({
  name: z.string(),
  productFlops: curve,
  thinProductFlops: curve.optional(),
  kernelFlops: z.record(z.string(), curve).optional(),
  vectorFlopsPerSecond: positive,
  memoryBytesPerSecond: curve,
  launchSeconds: z.number().min(0),
  memoryBytes: positive,
});

const cardSchema = z.strictObject({
  measuredAt: z.string(),
  driver: z.string(),
  f32: device,
  tf32: device,
  bf16: device,
  sharedLinks: links.optional(),
  ownLinks: links.optional(),
});

const profileSchema = z.strictObject({
  version: z.literal(PROFILE_VERSION),
  /** ISO date and time. */
  measuredAt: z.string(),
  machine: z.string(),
  threads: z.number().int().positive(),
  device,
  /** One message between two ranks; what an all-reduce among two moves. Absent where ranks cannot meet. */
  links: links.optional(),
  /** By the name that the driver gives them. */
  cards: z.record(z.string(), cardSchema).optional(),
});

/** Of two ranks: one message, and what an all-reduce moves. */
export interface RankLinks {
  readonly messages: Link;
  readonly allReduce: Link;
}

/** A card's kernels, in each precision that plans are made for; float16 runs as bfloat16 does. */
export interface CardProfile {
  readonly measuredAt: string;
  /** The driver's version. */
  readonly driver: string;
  readonly f32: DeviceModel;
  readonly tf32: DeviceModel;
  readonly bf16: DeviceModel;
  /** Between ranks that share the card. */
  readonly sharedLinks?: RankLinks | undefined;
  /** Between ranks with a card each; absent where there is one card, or no NCCL. */
  readonly ownLinks?: RankLinks | undefined;
}

export interface Profile {
  readonly version: typeof PROFILE_VERSION;
  readonly measuredAt: string;
  readonly machine: string;
  /** Of each rank. */
  readonly threads: number;
  readonly device: DeviceModel;
  readonly links?: RankLinks | undefined;
  readonly cards?: Readonly<Record<string, CardProfile>> | undefined;
}

/** @throws MerakError 'config/invalid' naming the key that is wrong. */
export function parseProfile(text: string, path: string): Profile {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (cause) {
    throw new MerakError('config/invalid', 'the profile is not JSON', {
      path,
      cause,
      hint: 'make it by `merak profile`',
    });
  }
  const result = profileSchema.safeParse(data);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new MerakError('config/invalid', `the profile is not one of this version: ${issue?.message ?? ''}`, {
    path: `${path}: ${issue?.path.join('.') ?? ''}`,
    hint: 'measure again with `merak profile`',
  });
}
