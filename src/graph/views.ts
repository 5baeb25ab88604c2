/** Kernels that move no data: their result is their input's bytes under another shape. */
export const VIEWS: ReadonlySet<string> = new Set(['Reshape', 'Identity', 'ExpandDims']);
