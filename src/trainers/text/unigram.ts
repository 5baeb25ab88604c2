/** The unigram model's training (Kudo 2018): pieces with probabilities, by expectation maximisation and pruning. */

/** A piece and the natural logarithm of its probability. */
export type Piece = readonly [piece: string, logProbability: number];

const MAX_PIECE_LENGTH = 12;
/** Pieces the training begins with, per piece it is to end with. */
const SEED_FACTOR = 8;
/** Share of pieces a round of pruning keeps (Kudo 2018, section 3.2). */
const KEPT = 0.75;
const EM_STEPS = 2;
/** The count of a character that no likely segmentation leaves by itself. */
const UNUSED = 1e-9;
/** Expected counts below this drop out of the model, unless they are single characters. */
const MIN_EXPECTED = 0.5;

/**
 * @param words pre-tokens and how often they occur
 * @param size pieces wanted; single characters of the words are always kept
 */
export function trainUnigram(words: ReadonlyMap<string, number>, size: number): Piece[] {
  const texts = [...words].map(([word, count]) => ({ characters: [...word], count }));
  let model = seedPieces(texts, size * SEED_FACTOR);
  for (;;) {
    for (let step = 0; step < EM_STEPS; step++) model = maximise(model, texts);
    if (model.size <= size) break;
    model = prune(model, texts, Math.max(size, Math.floor(model.size * KEPT)));
    if (![...model.keys()].some(isLong)) break;
  }
  model = maximise(model, texts);
  return [...model].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
}

type Model = Map<string, number>;
type Texts = readonly { readonly characters: readonly string[]; readonly count: number }[];

function isLong(piece: string): boolean {
  return [...piece].length > 1;
}

/** Every character, and the substrings that cover most text. */
function seedPieces(texts: Texts, maxPieces: number): Model {
  const counts = new Map<string, number>();
  for (const { characters, count } of texts) {
    for (let begin = 0; begin < characters.length; begin++) {
      let piece = '';
      for (let end = begin; end < Math.min(characters.length, begin + MAX_PIECE_LENGTH); end++) {
        piece += characters[end]!;
        counts.set(piece, (counts.get(piece) ?? 0) + count);
      }
    }
  }
  const characters = [...counts].filter(([piece]) => !isLong(piece));
  const longer = [...counts]
    .filter(([piece, count]) => isLong(piece) && count > 1)
    .map(([piece, count]): [string, number] => [piece, count * [...piece].length])
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, Math.max(0, maxPieces - characters.length));
  return normalised([...characters, ...longer]);
}

function normalised(counts: Iterable<[string, number]>): Model {
  const entries = [...counts];
  const total = Math.log(entries.reduce((sum, [, count]) => sum + count, 0));
  return new Map(entries.map(([piece, count]) => [piece, Math.log(count) - total]));
}

/** One step of expectation maximisation: every piece as likely as it is used, over all segmentations. */
function maximise(model: Model, texts: Texts): Model {
  const expected = new Map<string, number>();
  for (const { characters, count } of texts) addExpected(model, characters, count, expected);
  const kept = [...model.keys()].map((piece): [string, number] => [piece, expected.get(piece) ?? 0]);
  return normalised(
    kept
      .filter(([piece, count]) => count >= MIN_EXPECTED || !isLong(piece))
      .map(([piece, count]) => [piece, Math.max(count, UNUSED)]),
  );
}

/** Forward-backward over the segmentations of one word. */
function addExpected(model: Model, characters: readonly string[], count: number, expected: Map<string, number>): void {
  const length = characters.length;
  const forward = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
  const backward = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
  forward[0] = 0;
  backward[length] = 0;
  const edges = [...segments(model, characters)];
  for (const { begin, end, score } of edges) forward[end] = logSum(forward[end]!, forward[begin]! + score);
  for (const { begin, end, score } of edges.toReversed()) {
    backward[begin] = logSum(backward[begin]!, backward[end]! + score);
  }
  for (const { begin, end, score, piece } of edges) {
    const share = Math.exp(forward[begin]! + score + backward[end]! - forward[length]!);
    expected.set(piece, (expected.get(piece) ?? 0) + count * share);
  }
}

interface Segment {
  readonly begin: number;
  readonly end: number;
  readonly piece: string;
  readonly score: number;
}

/** Pieces that lie in a word, in the order of their begins. */
function* segments(model: Model, characters: readonly string[]): Generator<Segment> {
  for (let begin = 0; begin < characters.length; begin++) {
    let piece = '';
    for (let end = begin + 1; end <= Math.min(characters.length, begin + MAX_PIECE_LENGTH); end++) {
      piece += characters[end - 1]!;
      const score = model.get(piece);
      if (score !== undefined) yield { begin, end, piece, score };
    }
  }
}

function logSum(a: number, b: number): number {
  const high = Math.max(a, b);
  return high === Number.NEGATIVE_INFINITY ? high : high + Math.log1p(Math.exp(Math.min(a, b) - high));
}

/** Keeps single characters, and the pieces whose loss would cost the likelihood most. */
function prune(model: Model, texts: Texts, size: number): Model {
  const used = new Map<string, number>();
  for (const { characters, count } of texts) {
    for (const piece of bestSegmentation(model, characters)) used.set(piece, (used.get(piece) ?? 0) + count);
  }
  const losses = [...model].flatMap(([piece, score]): [string, number][] => {
    if (!isLong(piece)) return [];
    const alternative = bestSegmentation(model, [...piece], piece).reduce((sum, part) => sum + model.get(part)!, 0);
    return [[piece, (used.get(piece) ?? 0) * (score - alternative)]];
  });
  const characters = [...model.keys()].filter((piece) => !isLong(piece));
  const kept = losses
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, Math.max(0, size - characters.length))
    .map(([piece]) => piece);
  return new Map([...characters, ...kept].map((piece) => [piece, model.get(piece)!]));
}

/** Viterbi: the likeliest pieces of a word, without `excluded`. */
function bestSegmentation(model: Model, characters: readonly string[], excluded?: string): string[] {
  const best: { score: number; from: number; piece: string }[] = [{ score: 0, from: 0, piece: '' }];
  for (const { begin, end, piece, score } of segments(model, characters)) {
    const before = best[begin];
    if (before === undefined || piece === excluded) continue;
    const known = best[end];
    if (known === undefined || before.score + score > known.score)
      best[end] = { score: before.score + score, from: begin, piece };
  }
  const pieces: string[] = [];
  for (let at = characters.length; at > 0; at = best[at]!.from) pieces.push(best[at]!.piece);
  return pieces.reverse();
}
