/** What the search decides and everything after it reads: a layout for every value and for every use of it. */
import type { Layout } from './layout.js';

export interface Assignment {
  readonly degree: number;
  /** Per graph value: the layout in which it is produced (parameters and constants: stored). */
  readonly layouts: readonly Layout[];
  /** Per node: the layout in which it takes each input. Where it differs from the value's, a collective converts. */
  readonly inputLayouts: readonly (readonly Layout[])[];
  /** Whether a backward pass will follow: decides where MerakFanOut is needed. */
  readonly training: boolean;
  /** Predicted seconds of one micro-batch, forward and backward, as the search counts them. */
  readonly seconds: number;
}
