/** Counted n-gram models of bytes: what a language model must beat to have learned anything. */

/**
 * Mean negative log-likelihood (nats per byte) of `text` under the order-`n` model counted on `train`. Each order is
 * interpolated with the one below it by Witten-Bell weights (Chen & Goodman 1999, section 2.4), down to the uniform
 * model, so that unseen contexts cost little.
 */
export function ngramLoss(train: Uint8Array, text: Uint8Array, n: number): number {
  const orders = Array.from({ length: n }, (_, order) => countContexts(train, order));
  let total = 0;
  for (let i = n - 1; i < text.length; i++) {
    let probability = 1 / 256;
    for (let order = 0; order < n; order++) {
      const context = orders[order]!.get(contextKey(text, i, order));
      if (context === undefined) continue;
      const { counts, sum } = context;
      const types = counts.size;
      probability = ((counts.get(text[i]!) ?? 0) + types * probability) / (sum + types);
    }
    total -= Math.log(probability);
  }
  return total / (text.length - n + 1);
}

interface Context {
  readonly counts: Map<number, number>;
  sum: number;
}

function countContexts(train: Uint8Array, order: number): Map<number, Context> {
  const contexts = new Map<number, Context>();
  for (let i = order; i < train.length; i++) {
    const key = contextKey(train, i, order);
    let context = contexts.get(key);
    if (context === undefined) {
      context = { counts: new Map(), sum: 0 };
      contexts.set(key, context);
    }
    context.counts.set(train[i]!, (context.counts.get(train[i]!) ?? 0) + 1);
    context.sum++;
  }
  return contexts;
}

/** The `order` bytes before position `i` as one number. */
function contextKey(text: Uint8Array, i: number, order: number): number {
  let key = 0;
  for (let k = order; k > 0; k--) key = key * 256 + text[i - k]!;
  return key;
}
