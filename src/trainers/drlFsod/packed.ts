/** Data sets of one file of raw pixels (gzip) beside one of boxes (JSON), as ../shared/data/bccd is. */
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { z } from 'zod';
import { MerakError } from '../../errors.js';
import { readUtf8 } from '../readers/utf8.js';
import { type AnnotatedImage, checkBox, labelOf } from '../vision/annotations.js';

export const PACKED_PIXELS = 'bccd/bccd-128x96-rgb-u8.bin.gz';
export const PACKED_BOXES = 'bccd/bccd-boxes.json';

const schema = z.object({
  width: z.int().min(1),
  height: z.int().min(1),
  channels: z.literal(3),
  images: z.array(
    z.object({
      id: z.string(),
      split: z.string(),
      objects: z.array(z.object({ cls: z.string(), box: z.array(z.number()) })),
    }),
  ),
});

/** @throws MerakError trainer/data */
export async function readPacked(
  path: (file: string) => string,
  split: string,
  classes: readonly string[],
): Promise<AnnotatedImage[]> {
  const file = path(PACKED_BOXES);
  const parsed = schema.safeParse(parseJson(file, await readUtf8(file)));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new MerakError('trainer/data', 'a file of boxes lacks what it should have', {
      path: `${file}: ${issue!.path.join('.')}`,
      received: issue!.message,
    });
  }
  const { width, height, images } = parsed.data;
  const packed = path(PACKED_PIXELS);
  const pixels = await promisify(gunzip)(await readFile(packed)).catch((cause: unknown) => {
    throw new MerakError('trainer/data', 'a file of pixels cannot be unpacked', { path: packed, cause });
  });
  const size = width * height * 3;
  if (pixels.length !== size * images.length) {
    throw new MerakError('trainer/data', 'the pixels are not those of the listed images', {
      path: packed,
      expected: `${images.length} images of ${size} bytes`,
      received: `${pixels.length} bytes`,
    });
  }
  return images.flatMap(({ id, split: own, objects }, i): AnnotatedImage[] => {
    if (own !== split) return [];
    const read = objects.map(({ cls, box }, j) => {
      const at = `${file}: images[${i}].objects[${j}]`;
      return { label: labelOf(at, cls, classes), box: checkBox(at, box, width, height), ignored: false };
    });
    return [{ id, width, height, pixels: pixels.subarray(i * size, (i + 1) * size), objects: read }];
  });
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MerakError('trainer/data', 'a file of boxes is not JSON', { path: file, cause });
  }
}
