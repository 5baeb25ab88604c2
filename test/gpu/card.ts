/** The stand-in card (test/standin) in place of NVIDIA's libraries, and a cache of machine code of the tests' own. */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { standInEnvironment } from '../standin/build.js';

/** Machine code of the stand-ins: built once, then read by every test. */
export const CACHE = fileURLToPath(new URL('../../build/standin/cache', import.meta.url));

/** Before the addon looks for the driver; workers inherit it. */
export function useStandIns(): void {
  mkdirSync(CACHE, { recursive: true });
  Object.assign(process.env, standInEnvironment(), { MERAK_CUDA_CACHE: CACHE });
}
