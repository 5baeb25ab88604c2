/** Recognising tfjs's random ops, which draw numbers in JavaScript and hand them over as plain data. */
import { callerNames } from './source.js';

/** tfjs names each op's implementation after the op, with an underscore. */
const RANDOM_OPS = new Set(['randomUniform_', 'randomNormal_', 'truncatedNormal_', 'randomGamma_', 'rand_']);

/** The random op of tfjs on the call stack, if any. */
export function randomOp(): string | undefined {
  return callerNames()
    .find((name) => RANDOM_OPS.has(name))
    ?.slice(0, -1);
}
