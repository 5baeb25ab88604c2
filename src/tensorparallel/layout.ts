/** Layouts as types: how a value lies on the tensor-parallel axis of the mesh. */

/**
 * - `replicate`: every rank holds the whole value.
 * - `shard`: `dim` is split over the axis. The dim is seen as `[parts, size / parts]` and each part is split by
 *   itself, so a fused q|k|v weight (`parts` 3) gives every rank a piece of q, of k and of v. `paddedSize` >= the
 *   logical size when the logical size does not divide (vocabulary 251 on 2 ranks: 252; padding only at the end and
 *   only with `parts` 1). The local size is `paddedSize / degree`.
 * - `partial`: every rank holds a term of the sum.
 */
export type Layout =
  | { readonly kind: 'replicate' }
  | { readonly kind: 'shard'; readonly dim: number; readonly parts: number; readonly paddedSize: number }
  | { readonly kind: 'partial' };

export const REPLICATE: Layout = { kind: 'replicate' };
export const PARTIAL: Layout = { kind: 'partial' };
