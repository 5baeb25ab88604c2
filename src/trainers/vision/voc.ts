/** Pascal VOC folders: ImageSets/Main/<split>.txt, Annotations/<id>.xml, JPEGImages/<id>.jpg. */
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { z } from 'zod';
import { MerakError } from '../../errors.js';
import { readUtf8 } from '../readers/utf8.js';
import { type AnnotatedImage, type BoxedObject, checkBox, labelOf } from './annotations.js';
import { readJpeg } from './jpeg.js';

const number = z.coerce.number();
const annotation = z.object({
  size: z.object({ width: number, height: number }),
  object: z
    .array(
      z.object({
        name: z.string(),
        difficult: number.default(0),
        bndbox: z.object({ xmin: number, ymin: number, xmax: number, ymax: number }),
      }),
    )
    .default([]),
});

/** The images a split names. VOC counts pixels from 1 and includes the last; boxes come out as edges from 0. */
export async function readVoc(
  path: (file: string) => string,
  split: string,
  classes: readonly string[],
): Promise<AnnotatedImage[]> {
  const list = await readUtf8(path(`ImageSets/Main/${split}.txt`));
  const ids = list.split(/\r?\n/).map((line) => line.trim().split(/\s+/)[0]!);
  const images: AnnotatedImage[] = [];
  for (const id of ids.filter((one) => one !== '')) {
    const file = path(`Annotations/${id}.xml`);
    const { size, objects } = parseVoc(file, await readUtf8(file), classes);
    const image = await readJpeg(path(`JPEGImages/${id}.jpg`));
    if (image.width !== size.width || image.height !== size.height) {
      throw new MerakError('trainer/data', 'an image is not of the size its annotation says', {
        path: `${file}:${lineOf(await readUtf8(file), '<size>', 0)}`,
        expected: `${image.width} x ${image.height}`,
        received: `${size.width} x ${size.height}`,
      });
    }
    images.push({ id, ...image, objects });
  }
  return images;
}

/** @throws MerakError trainer/data, naming file and line */
export function parseVoc(
  file: string,
  text: string,
  classes: readonly string[],
): { size: { width: number; height: number }; objects: BoxedObject[] } {
  const valid = XMLValidator.validate(text);
  if (valid !== true) {
    const { msg, line, col } = valid.err;
    throw new MerakError('trainer/data', 'an annotation is not XML', { path: `${file}:${line}:${col}`, received: msg });
  }
  const parser = new XMLParser({ isArray: (name) => name === 'object', parseTagValue: false });
  const parsed = annotation.safeParse(parser.parse(text).annotation);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const nth = issue!.path[0] === 'object' ? Number(issue!.path[1] ?? 0) : 0;
    throw new MerakError('trainer/data', 'an annotation lacks what VOC says it has', {
      path: `${file}:${lineOf(text, issue!.path[0] === 'object' ? '<object>' : '<annotation', nth)}`,
      expected: issue!.path.join('.'),
      received: issue!.message,
    });
  }
  const { size, object } = parsed.data;
  const objects = object.map(({ name, difficult, bndbox: { xmin, ymin, xmax, ymax } }, i): BoxedObject => {
    const at = `${file}:${lineOf(text, '<object>', i)}, object ${i + 1}`;
    const box = checkBox(at, [xmin - 1, ymin - 1, xmax, ymax], size.width, size.height);
    return { label: labelOf(at, name, classes), box, ignored: difficult === 1 };
  });
  return { size, objects };
}

/** The line (from 1) of a tag's nth occurrence. */
function lineOf(text: string, tag: string, nth: number): number {
  let at = text.indexOf(tag);
  for (let i = 0; i < nth && at !== -1; i++) at = text.indexOf(tag, at + 1);
  return text.slice(0, Math.max(at, 0)).split('\n').length;
}
