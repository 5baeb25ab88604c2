/** Choosing how much to quantise from what was measured: the self-adaptive rule of SAMP (arXiv 2209.09130), as reconstructed. */
import { MerakError } from '../errors.js';

/** What one layer runs in. */
export const LAYER_MODES = ['float', 'ffn', 'full'] as const;
export type LayerMode = (typeof LAYER_MODES)[number];

/** The first `numLayers` layers in `mode`, the others in float, as measured. */
export interface Candidate {
  readonly mode: Exclude<LayerMode, 'float'>;
  /** 0 is the float model. */
  readonly numLayers: number;
  /** Higher is better. */
  readonly metric: number;
  /** Standard error of this metric's difference from the float model's, both on the same rows; absent, differences count as they are. */
  readonly metricError?: number | undefined;
  readonly latencySeconds: number;
}

export interface Requirement {
  /** The fastest candidate at least this good. */
  readonly minMetric?: number | undefined;
  /** The best candidate at most this slow, in seconds. */
  readonly maxLatency?: number | undefined;
  /**
   * Without the two above: along growing numbers of layers, stop before the step that loses more of the metric than this per unit of
   * relative speed-up ((t before - t after) / t of the float model).
   */
  readonly decayThreshold: number;
}

/**
 * With a floor under the metric, the fastest candidate above it; with a ceiling on latency, the most accurate below it; with both,
 * the fastest that keeps both. Otherwise each mode walks from k = 0 upwards and stops before the step whose loss per gain,
 * (M_(k-1) - M_k) / (t_(k-1) - t_k), exceeds the threshold, and of the modes' ends the faster is taken, or the better at equal
 * latency (1 %). A step that is no faster is passed over when it loses nothing that the next step does not win back. A loss within
 * the standard error of the difference from the float model is none: a title more or less of a thousand must not decide.
 *
 * @throws MerakError config/invalid when no candidate fulfils the requirement, naming the nearest.
 */
export function recommend(candidates: readonly Candidate[], requirement: Requirement): Candidate {
  const { minMetric, maxLatency } = requirement;
  const float = candidates.find(({ numLayers }) => numLayers === 0);
  if (float === undefined) throw new MerakError('config/invalid', 'the float model is not among the candidates');
  if (minMetric !== undefined || maxLatency !== undefined) {
    const fitting = candidates.filter(
      ({ metric, latencySeconds }) =>
        metric >= (minMetric ?? Number.NEGATIVE_INFINITY) && latencySeconds <= (maxLatency ?? Number.POSITIVE_INFINITY),
    );
    if (fitting.length === 0) throw unreachable(candidates, requirement);
    return minMetric !== undefined ? best(fitting, isFaster) : best(fitting, isMoreAccurate);
  }
  const modes = [...new Set(candidates.map(({ mode }) => mode))];
  const ends = modes.map((mode) => {
    const own = candidates.filter((candidate) => candidate.numLayers === 0 || candidate.mode === mode);
    return walk(float, own, requirement.decayThreshold);
  });
  return best([float, ...ends], isFaster);
}

/** Steps to the next number of layers that is faster than where it stands, while the price is right. */
function walk(float: Candidate, candidates: readonly Candidate[], threshold: number): Candidate {
  let at = float;
  for (const next of [...candidates].sort((a, b) => a.numLayers - b.numLayers)) {
    const gain = (at.latencySeconds - next.latencySeconds) / float.latencySeconds;
    if (next.numLayers === 0 || gain <= 0) continue;
    const isNoise = next.metricError !== undefined && float.metric - next.metric <= next.metricError;
    if (!isNoise && (at.metric - next.metric) / gain > threshold) break;
    at = next;
  }
  return at;
}

/** Latencies this near count as equal. */
const SAME_LATENCY = 0.01;

function isFaster(a: Candidate, b: Candidate): boolean {
  const difference = a.latencySeconds - b.latencySeconds;
  if (Math.abs(difference) <= SAME_LATENCY * b.latencySeconds) return a.metric > b.metric;
  return difference < 0;
}

function isMoreAccurate(a: Candidate, b: Candidate): boolean {
  return a.metric === b.metric ? a.latencySeconds < b.latencySeconds : a.metric > b.metric;
}

function best(candidates: readonly Candidate[], isBetter: (a: Candidate, b: Candidate) => boolean): Candidate {
  return candidates.reduce((chosen, candidate) => (isBetter(candidate, chosen) ? candidate : chosen));
}

function unreachable(candidates: readonly Candidate[], { minMetric, maxLatency }: Requirement): MerakError {
  const nearest = minMetric === undefined ? best(candidates, isFaster) : best(candidates, isMoreAccurate);
  const show = ({ mode, numLayers, metric, latencySeconds }: Candidate): string =>
    `metric ${metric}, latency ${latencySeconds} s (${mode}, ${numLayers} layers)`;
  return new MerakError('config/invalid', 'no combination of layers fulfils the requirement', {
    path: minMetric === undefined ? 'maxLatency' : 'minMetric',
    expected: `metric at least ${minMetric ?? 'any'}, latency at most ${maxLatency ?? 'any'} s`,
    received: `nearest: ${show(nearest)}`,
    hint: 'relax the requirement, or leave it out to have one recommended',
  });
}
