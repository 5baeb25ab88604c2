/** What `merak profile` measured of a device and its links: replaces entries of the tables. */
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

const profileSchema = z.strictObject({
  version: z.literal(PROFILE_VERSION),
  /** ISO date and time. */
  measuredAt: z.string(),
  machine: z.string(),
  threads: z.number().int().positive(),
  device: z.strictObject({
    name: z.string(),
    productFlops: curve,
    thinProductFlops: curve.optional(),
    kernelFlops: z.record(z.string(), curve).optional(),
    vectorFlopsPerSecond: positive,
    memoryBytesPerSecond: curve,
    launchSeconds: z.number().min(0),
    memoryBytes: positive,
  }),
  /** One message between two ranks; what an all-reduce among two moves. Absent where ranks cannot meet. */
  links: z.strictObject({ messages: link, allReduce: link }).optional(),
});

export interface Profile {
  readonly version: typeof PROFILE_VERSION;
  readonly measuredAt: string;
  readonly machine: string;
  /** Of each rank. */
  readonly threads: number;
  readonly device: DeviceModel;
  readonly links?: { readonly messages: Link; readonly allReduce: Link } | undefined;
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
