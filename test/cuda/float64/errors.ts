/** Where relative errors are noted: the file that MERAK_KERNEL_ERRORS names gets a JSON line for each. */
import { appendFileSync } from 'node:fs';
import { expect } from 'vitest';
import { BOUNDS, type Precision } from './case.js';

export interface Found {
  readonly kernel: string;
  readonly precision: Precision;
  readonly shapes: string;
  readonly error: number;
}

/** Notes the error, then expects it to be within the precision's limit. */
export function expectWithin(found: Found): void {
  const limit = BOUNDS[found.precision];
  const file = process.env.MERAK_KERNEL_ERRORS;
  if (file !== undefined) appendFileSync(file, `${JSON.stringify({ ...found, limit })}\n`);
  expect(found.error, `${found.kernel} in ${found.precision} of ${found.shapes}`).toBeLessThan(limit);
}
