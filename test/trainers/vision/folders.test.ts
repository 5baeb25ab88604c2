/** VOC and COCO folders are read alike, and what is wrong in them is named with its place. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readCoco } from '../../../src/trainers/vision/coco.js';
import { encodeJpeg } from '../../../src/trainers/vision/jpeg.js';
import { parseVoc, readVoc } from '../../../src/trainers/vision/voc.js';

let folder: string;
const path = (file: string): string => join(folder, file);
const CLASSES = ['cat', 'dog'];

const xml = (box: string, name = 'dog', size = 16): string =>
  `<annotation>\n<size><width>${size}</width><height>8</height></size>\n<object>\n<name>cat</name><difficult>1</difficult>\n` +
  `<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></object>\n<object><name>${name}</name>${box}</object></annotation>`;
const GOOD = '<bndbox><xmin>3</xmin><ymin>2</ymin><xmax>16</xmax><ymax>8</ymax></bndbox>';
const coco = (bbox: unknown, category = 7) => ({
  images: [{ id: 4, file_name: 'a.jpg', width: 16, height: 8 }],
  annotations: [
    { image_id: 4, category_id: 3, bbox: [0, 0, 4, 4], iscrowd: 1 },
    { image_id: 4, category_id: category, bbox },
  ],
  categories: [
    { id: 3, name: 'cat' },
    { id: 7, name: 'dog' },
  ],
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-vision-'));
  for (const part of ['Annotations', 'JPEGImages', 'ImageSets/Main', 'images', 'annotations']) {
    await mkdir(path(part), { recursive: true });
  }
  const pixels = Uint8Array.from({ length: 16 * 8 * 3 }, (_, i) => 60 + 50 * (i % 3));
  for (const file of ['JPEGImages/a.jpg', 'images/a.jpg']) {
    await writeFile(path(file), encodeJpeg({ width: 16, height: 8, pixels }));
  }
  await writeFile(path('ImageSets/Main/one.txt'), 'a 1\n');
  await writeFile(path('Annotations/a.xml'), xml(GOOD));
  await writeFile(path('annotations/one.json'), JSON.stringify(coco([2, 1, 14, 7])));
});
afterAll(() => rm(folder, { recursive: true }));

it('the same boxes from both formats, as edges from 0', async () => {
  const [voc] = await readVoc(path, 'one', CLASSES);
  const [read] = await readCoco(path, 'one', CLASSES);
  expect(voc!.objects).toEqual([
    { label: 0, box: [0, 0, 4, 4], ignored: true },
    { label: 1, box: [2, 1, 16, 8], ignored: false },
  ]);
  expect(read!.objects).toEqual(voc!.objects);
  expect(read!.pixels).toEqual(voc!.pixels);
  for (const [i, value] of voc!.pixels.entries()) expect(Math.abs(value - (60 + 50 * (i % 3)))).toBeLessThan(6);
});

it.each([
  ['outside the image', xml(GOOD.replace('>16<', '>17<')), /a\.xml:6, object 2/],
  ['without area', xml(GOOD.replace('>3<', '>17<')), /a\.xml:6, object 2/],
  ['of an unknown class', xml(GOOD, 'dgo'), /a\.xml:6, object 2/],
  ['absent', xml(''), /a\.xml:6/],
  ['not XML', `${xml(GOOD)}</x>`, /a\.xml:6:\d+/],
])('a VOC box %s is refused', (_, text, place) => {
  expect(() => parseVoc('a.xml', text, CLASSES)).toThrow(
    expect.objectContaining({ code: 'trainer/data', path: expect.stringMatching(place) }),
  );
});

it.each([
  ['outside the image', coco([2, 1, 15, 7]), /bad\.json: annotations\[1\]\.bbox/],
  ['of three numbers', coco([2, 1, 15]), /bad\.json: annotations\.1\.bbox/],
  ['of an unlisted category', coco([2, 1, 4, 4], 9), /bad\.json: annotations\[1\]/],
])('a COCO box %s is refused', async (_, json, place) => {
  await writeFile(path('annotations/bad.json'), JSON.stringify(json));
  await expect(readCoco(path, 'bad', CLASSES)).rejects.toMatchObject({
    code: 'trainer/data',
    path: expect.stringMatching(place),
  });
});

it('images that are none, or not of their size, are refused', async () => {
  await writeFile(path('ImageSets/Main/two.txt'), 'b\n');
  await writeFile(path('Annotations/b.xml'), xml(GOOD));
  await writeFile(path('JPEGImages/b.jpg'), 'no picture');
  await expect(readVoc(path, 'two', CLASSES)).rejects.toMatchObject({
    code: 'trainer/data',
    path: path('JPEGImages/b.jpg'),
  });
  await writeFile(path('JPEGImages/b.jpg'), encodeJpeg({ width: 24, height: 8, pixels: new Uint8Array(24 * 8 * 3) }));
  await expect(readVoc(path, 'two', CLASSES)).rejects.toMatchObject({ code: 'trainer/data', received: '16 x 8' });
});
