/** COCO: annotations/<split>.json (images, annotations, categories) and images/<file_name>. */
import { z } from 'zod';
import { MerakError } from '../../errors.js';
import { readUtf8 } from '../readers/utf8.js';
import { type AnnotatedImage, type BoxedObject, checkBox, labelOf } from './annotations.js';
import { readJpeg } from './jpeg.js';

const schema = z.object({
  images: z.array(z.object({ id: z.number(), file_name: z.string(), width: z.number(), height: z.number() })).min(1),
  annotations: z.array(
    z.object({
      image_id: z.number(),
      category_id: z.number(),
      bbox: z.array(z.number()).length(4),
      iscrowd: z.number().default(0),
    }),
  ),
  categories: z.array(z.object({ id: z.number(), name: z.string() })).min(1),
});

/** A box is (x, y, width, height) in the file. @throws MerakError trainer/data, naming file and place in it */
export async function readCoco(
  path: (file: string) => string,
  split: string,
  classes: readonly string[],
): Promise<AnnotatedImage[]> {
  const file = path(`annotations/${split}.json`);
  const { images, annotations, categories } = parseCoco(file, await readUtf8(file));
  const names = new Map(categories.map(({ id, name }) => [id, name]));
  const sizes = new Map(images.map((image) => [image.id, image]));
  const objects = new Map<number, BoxedObject[]>(images.map(({ id }) => [id, []]));
  annotations.forEach(({ image_id: id, category_id: category, bbox, iscrowd }, i) => {
    const at = `${file}: annotations[${i}]`;
    const image = sizes.get(id);
    const name = names.get(category);
    if (image === undefined || name === undefined) {
      throw new MerakError('trainer/data', 'an annotation is of an image or category that is not listed', {
        path: at,
        received: image === undefined ? `image_id ${id}` : `category_id ${category}`,
      });
    }
    const [x, y, width, height] = bbox as [number, number, number, number];
    const box = checkBox(`${at}.bbox`, [x, y, x + width, y + height], image.width, image.height);
    objects.get(id)!.push({ label: labelOf(at, name, classes), box, ignored: iscrowd === 1 });
  });
  const read: AnnotatedImage[] = [];
  for (const [i, { id, file_name: name, width, height }] of images.entries()) {
    const image = await readJpeg(path(`images/${name}`));
    if (image.width !== width || image.height !== height) {
      throw new MerakError('trainer/data', 'an image is not of the size its entry says', {
        path: `${file}: images[${i}]`,
        expected: `${image.width} x ${image.height}`,
        received: `${width} x ${height}`,
      });
    }
    read.push({ id: String(id), ...image, objects: objects.get(id)! });
  }
  return read;
}

function parseCoco(file: string, text: string): z.output<typeof schema> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new MerakError('trainer/data', 'a COCO file is not JSON', { path: file, cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new MerakError('trainer/data', 'a COCO file lacks what the format says it has', {
    path: `${file}: ${issue!.path.join('.')}`,
    received: issue!.message,
  });
}
