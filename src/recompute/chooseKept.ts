/** What a stage keeps, operator by operator: the fewest seconds of recomputation that fit a budget of bytes. */
import type { KeepProblem } from './keepProblem.js';
import { recomputeSeconds } from './keepProblem.js';
import { CutGraph } from './minimumCut.js';

export interface KeepBudget {
  /** Micro-batches between their forward and the end of their backward pass, at most. */
  readonly numInFlight: number;
  /** Micro-batches between recomputation and the end of backward, at most; usually 1. */
  readonly numRecomputed?: number;
  /** For kept and recomputed values together, over all micro-batches. */
  readonly bytes: number;
}

export interface KeepChoice {
  /** Indices into `problem.candidates`. */
  readonly kept: ReadonlySet<number>;
  /** numInFlight x kept + numRecomputed x made again. */
  readonly bytes: number;
  readonly recomputeSeconds: number;
}

/** Costs grow by this over the graph, so that of equal layers some are kept and others not. */
const TIE_BREAK = 1e-3;
const NUM_BISECTIONS = 36;

/**
 * With k micro-batches in flight and one recomputed at a time, keeping a value that backward needs costs k - 1 times its
 * bytes more than making it again, and a value kept only to shorten recomputation k times. For a price per byte the best
 * choice is a minimum cut: on one side what runs again, on the other what is kept, and a node that runs again needs
 * each input kept or run again too, so its price includes the ancestors not kept. The price is bisected until the choice
 * fits, then what space is left is filled value by value.
 *
 * The choice keeps nothing when even that exceeds the budget: compare `bytes`.
 */
export function chooseKept(problem: KeepProblem, budget: KeepBudget): KeepChoice {
  const weights = candidateWeights(problem, budget);
  const room = budget.bytes - (budget.numRecomputed ?? 1) * problem.neededBytes;
  const all = new Set(problem.candidates.flatMap(({ needed }, index) => (needed ? [index] : [])));
  const weightOf = (kept: ReadonlySet<number>) => [...kept].reduce((sum, index) => sum + (weights[index] ?? 0), 0);
  const choice = (kept: ReadonlySet<number>): KeepChoice => ({
    kept,
    bytes: (budget.numRecomputed ?? 1) * problem.neededBytes + weightOf(kept),
    recomputeSeconds: recomputeSeconds(problem, kept),
  });
  if (weightOf(all) <= room) return choice(all);

  const finite = problem.nodes.map(({ seconds }) => seconds).filter((s) => Number.isFinite(s) && s > 0);
  const total = finite.reduce((sum, seconds) => sum + seconds, 0) * (1 + TIE_BREAK);
  const positive = weights.filter((weight) => weight > 0);
  let high = (2 * total) / Math.min(...positive);
  let low = (0.5 * Math.min(...finite)) / positive.reduce((sum, weight) => sum + weight, 0);
  let best = keptAtPrice(problem, weights, high);
  if (finite.length === 0 || weightOf(best) > room) return choice(best);
  for (let i = 0; i < NUM_BISECTIONS && high > low * (1 + TIE_BREAK / problem.nodes.length / 4); i++) {
    const price = Math.sqrt(low * high);
    const kept = keptAtPrice(problem, weights, price);
    if (weightOf(kept) <= room) [best, high] = [kept, price];
    else low = price;
  }
  return choice(fill(problem, weights, best, room - weightOf(best)));
}

/** Bytes that keeping each candidate adds to keeping nothing. */
export function candidateWeights(problem: KeepProblem, { numInFlight, numRecomputed = 1 }: KeepBudget): number[] {
  return problem.candidates.map(({ bytes, needed }) => bytes * (needed ? numInFlight - numRecomputed : numInFlight));
}

/** The best choice when keeping costs `price` seconds per byte. */
export function keptAtPrice(problem: KeepProblem, weights: readonly number[], price: number): Set<number> {
  const { candidates, nodes } = problem;
  const graph = new CutGraph();
  const [source, sink] = [graph.addVertex(), graph.addVertex()];
  // On the source's side: runs again.
  const repeats = nodes.map(({ seconds }, index) => {
    const vertex = graph.addVertex();
    graph.addEdge(vertex, sink, seconds * (1 + (TIE_BREAK * index) / nodes.length));
    return vertex;
  });
  // On the source's side: something that runs again reads it.
  const wanted = candidates.map(({ needed, producer }, index) => {
    const cost = price * (weights[index] ?? 0);
    const made = repeats[producer] ?? sink;
    const from = needed ? source : graph.addVertex();
    graph.addEdge(from, made, cost);
    return from;
  });
  nodes.forEach(({ inputs }, index) => {
    for (const input of inputs) {
      const from = repeats[index] ?? sink;
      const to = wanted[input] ?? source;
      if (to !== source) graph.addEdge(from, to, Number.POSITIVE_INFINITY);
    }
  });
  const onSourceSide = graph.cut(source, sink);
  const isRepeated = (node: number) => onSourceSide[repeats[node] ?? sink] === true;
  return new Set(
    candidates.flatMap(({ producer }, index) =>
      onSourceSide[wanted[index] ?? sink] === true && !isRepeated(producer) ? [index] : [],
    ),
  );
}

/** Adds what shortens recomputation and still fits, dearest per byte first. */
function fill(problem: KeepProblem, weights: readonly number[], start: ReadonlySet<number>, room: number): Set<number> {
  const kept = new Set(start);
  let left = room;
  let seconds = recomputeSeconds(problem, kept);
  const worth = (index: number) =>
    (problem.nodes[problem.candidates[index]?.producer ?? -1]?.seconds ?? 0) / Math.max(1, weights[index] ?? 0);
  const order = problem.candidates
    .flatMap(({ needed }, index) => (needed && !kept.has(index) && (weights[index] ?? 0) <= room ? [index] : []))
    .sort((a, b) => worth(b) - worth(a) || a - b);
  for (const index of order) {
    const weight = weights[index] ?? 0;
    if (weight > left) continue;
    kept.add(index);
    const shorter = recomputeSeconds(problem, kept);
    if (shorter < seconds) {
      seconds = shorter;
      left -= weight;
    } else {
      kept.delete(index);
    }
  }
  return kept;
}
