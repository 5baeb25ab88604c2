/** What a detection data set holds, whatever its format, and the checks every format shares. */
import { closest } from 'fastest-levenshtein';
import { MerakError } from '../../errors.js';

export interface BoxedObject {
  /** Place among the data set's class names. */
  readonly label: number;
  /** x1, y1, x2, y2 in pixels. */
  readonly box: readonly [number, number, number, number];
  /** Neither to be found nor to be taken for background (VOC's difficult, COCO's crowd). */
  readonly ignored: boolean;
}

export interface AnnotatedImage {
  readonly id: string;
  readonly width: number;
  readonly height: number;
  /** [height, width, 3], red, green, blue. */
  readonly pixels: Uint8Array;
  readonly objects: readonly BoxedObject[];
}

/** @throws MerakError trainer/data: not numbers, no area, or outside the image */
export function checkBox(path: string, box: readonly number[], width: number, height: number): BoxedObject['box'] {
  const [x1 = Number.NaN, y1 = Number.NaN, x2 = Number.NaN, y2 = Number.NaN] = box;
  const whole = [x1, y1, x2, y2] as const;
  const received = whole.join(', ');
  const fail = (message: string, expected: string) =>
    new MerakError('trainer/data', message, { path, expected, received });
  if (!whole.every(Number.isFinite)) throw fail('a box is not made of four numbers', 'x1, y1, x2, y2 in pixels');
  if (x1 >= x2 || y1 >= y2) throw fail('a box has no area', 'x1 < x2 and y1 < y2');
  if (x1 < 0 || y1 < 0 || x2 > width || y2 > height)
    throw fail('a box lies outside its image', `within ${width} x ${height} pixels`);
  return whole;
}

/** @throws MerakError trainer/data */
export function labelOf(path: string, name: string, classes: readonly string[]): number {
  const label = classes.indexOf(name);
  if (label !== -1) return label;
  const hint = `did you mean '${closest(name, classes)}'? The classes are configured (baseClasses, novelClasses)`;
  throw new MerakError('trainer/data', 'an object has an unknown class', {
    path,
    expected: classes.join(', '),
    received: name,
    hint,
  });
}
