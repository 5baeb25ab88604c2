/** Average precision of detections: the area under the interpolated precision-recall curve. */

export interface Detection {
  /** Place of the image. */
  readonly image: number;
  readonly label: number;
  readonly score: number;
  readonly box: readonly number[];
}

export interface Truth {
  readonly image: number;
  readonly label: number;
  readonly box: readonly number[];
  /** Matching it is neither right nor wrong, missing it costs nothing. */
  readonly ignored: boolean;
}

/**
 * AP by class as VOC counts since 2010: detections by falling score, each matched to the true box it overlaps most; right
 * if by at least `minOverlap` and not taken before; precision made non-increasing from the right, then summed over
 * recall. NaN for a class without a true box.
 */
export function averagePrecisions(
  detections: readonly Detection[],
  truths: readonly Truth[],
  numClasses: number,
  minOverlap = 0.5,
): number[] {
  return Array.from({ length: numClasses }, (_, label) =>
    averagePrecision(
      detections.filter((one) => one.label === label),
      truths.filter((one) => one.label === label),
      minOverlap,
    ),
  );
}

function averagePrecision(detections: readonly Detection[], truths: readonly Truth[], minOverlap: number): number {
  const positives = truths.filter(({ ignored }) => !ignored).length;
  if (positives === 0) return Number.NaN;
  const taken = new Set<Truth>();
  const precisions: number[] = [];
  const hits: boolean[] = [];
  let [right, counted] = [0, 0];
  for (const detection of [...detections].sort((a, b) => b.score - a.score)) {
    const best = bestMatch(detection, truths);
    if (best !== undefined && best.overlap >= minOverlap && best.truth.ignored) continue;
    const hit = best !== undefined && best.overlap >= minOverlap && !taken.has(best.truth);
    if (hit) taken.add(best.truth);
    right += Number(hit);
    precisions.push(right / ++counted);
    hits.push(hit);
  }
  let [area, highest] = [0, 0];
  for (let i = precisions.length - 1; i >= 0; i--) {
    highest = Math.max(highest, precisions[i]!);
    if (hits[i]) area += highest / positives;
  }
  return area;
}

function bestMatch(detection: Detection, truths: readonly Truth[]): { truth: Truth; overlap: number } | undefined {
  let best: { truth: Truth; overlap: number } | undefined;
  for (const truth of truths) {
    if (truth.image !== detection.image) continue;
    const overlap = overlapOf(detection.box, truth.box);
    if (best === undefined || overlap > best.overlap) best = { truth, overlap };
  }
  return best;
}

/** Intersection over union of two boxes. */
export function overlapOf(a: readonly number[], b: readonly number[]): number {
  const width = Math.max(0, Math.min(a[2]!, b[2]!) - Math.max(a[0]!, b[0]!));
  const height = Math.max(0, Math.min(a[3]!, b[3]!) - Math.max(a[1]!, b[1]!));
  const area = (box: readonly number[]): number => (box[2]! - box[0]!) * (box[3]! - box[1]!);
  return (width * height) / (area(a) + area(b) - width * height);
}
