/** Shape rules of normalisations. */
import { each, like, type Rules } from './rule.js';

export const normalizeRules: Rules = each(['FusedBatchNorm', 'LRN', 'LRNGrad'], like('x', 'float32'));
