/** JPEG files as pixels. */
import { readFile } from 'node:fs/promises';
import jpeg from 'jpeg-js';
import { MerakError } from '../../errors.js';

export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] */
  readonly pixels: Uint8Array;
}

/** @throws MerakError trainer/data: it cannot be read or is no JPEG */
export async function readJpeg(path: string): Promise<Pixels> {
  try {
    const { width, height, data } = jpeg.decode(await readFile(path), { useTArray: true, formatAsRGBA: false });
    return { width, height, pixels: data };
  } catch (cause) {
    throw new MerakError('trainer/data', 'an image cannot be read', { path, expected: 'a JPEG file', cause });
  }
}

/** @param quality from 1 to 100 */
export function encodeJpeg({ width, height, pixels }: Pixels, quality = 95): Uint8Array {
  const data = new Uint8Array(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) data.set(pixels.subarray(3 * i, 3 * i + 3), 4 * i);
  return jpeg.encode({ width, height, data }, quality).data;
}
