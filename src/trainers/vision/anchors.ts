/** The anchors of a region proposal network (Faster R-CNN, section 3.1). */

/** [cells of height x cells of width x sizes, 4]: squares of each size (pixels) about every cell's centre, row by row. */
export function anchorsOf(height: number, width: number, stride: number, sizes: readonly number[]): number[][] {
  const anchors: number[][] = [];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const [x, y] = [(column + 0.5) * stride, (row + 0.5) * stride];
      for (const size of sizes) anchors.push([x - size / 2, y - size / 2, x + size / 2, y + size / 2]);
    }
  }
  return anchors;
}
