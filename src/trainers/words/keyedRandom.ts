/** Random numbers for decisions about data: a sequence that depends on its keys alone. */

/** Uniform in [0, 1), 32 bits: a Weyl sequence through the finaliser of MurmurHash3, begun at the mixed keys. */
export function keyedRandom(...keys: readonly number[]): () => number {
  let state = keys.reduce((mixed, key) => finalise((mixed ^ finalise((key + 0x9e3779b9) | 0)) | 0), 0x2545f491);
  return () => {
    state = (state + 0x9e3779b9) | 0;
    return (finalise(state) >>> 0) / 2 ** 32;
  };
}

function finalise(x: number): number {
  let h = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
