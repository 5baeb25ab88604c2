/** A generated detection world: coloured shapes over clutter, written as a Pascal VOC folder. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeJpeg, type Pixels } from '../vision/jpeg.js';
import { generator, type Random } from './random.js';

export const SHAPES = ['disc', 'square', 'triangle', 'cross', 'ring'] as const;
const COLOURS = { red: [210, 60, 50], green: [60, 170, 70], blue: [60, 90, 210], yellow: [215, 195, 60] } as const;
export const NUM_COLOURS = Object.keys(COLOURS).length;
type Shape = (typeof SHAPES)[number];

/** 20 classes: every shape in every colour. */
export const WORLD_CLASSES: readonly string[] = Object.keys(COLOURS).flatMap((colour) =>
  SHAPES.map((shape) => `${colour}-${shape}`),
);

const SIDE = 64;
const MIN_SIZE = 14;
const MAX_SIZE = 28;
const MAX_OBJECTS = 3;

interface Placed {
  readonly name: string;
  readonly box: readonly [number, number, number, number];
}

/** The same folder for the same arguments. */
export async function writeWorld(
  folder: string,
  splits: Readonly<Record<string, number>>,
  seed: number,
): Promise<void> {
  for (const part of ['Annotations', 'JPEGImages', 'ImageSets/Main'])
    await mkdir(join(folder, part), { recursive: true });
  for (const [split, numImages] of Object.entries(splits)) {
    const ids = Array.from({ length: numImages }, (_, i) => `${split}-${String(i).padStart(5, '0')}`);
    for (const [i, id] of ids.entries()) {
      const { image, objects } = scene(generator(`${seed}/${split}/${i}`));
      await writeFile(join(folder, `JPEGImages/${id}.jpg`), encodeJpeg(image));
      await writeFile(join(folder, `Annotations/${id}.xml`), annotation(id, objects));
    }
    await writeFile(join(folder, `ImageSets/Main/${split}.txt`), `${ids.join('\n')}\n`);
  }
}

function scene(random: Random): { image: Pixels; objects: Placed[] } {
  const pixels = new Uint8Array(SIDE * SIDE * 3);
  const between = (low: number, high: number): number => low + random() * (high - low);
  const ground = [between(70, 170), between(70, 170), between(70, 170)];
  for (let i = 0; i < pixels.length; i++) pixels[i] = ground[i % 3]! + between(-12, 12);
  // Clutter: strokes of any colour.
  for (let stroke = 0; stroke < 10; stroke++) {
    const colour = [between(30, 230), between(30, 230), between(30, 230)];
    let [x, y] = [between(0, SIDE), between(0, SIDE)];
    const angle = between(0, 2 * Math.PI);
    for (let length = between(4, 14); length > 0; length--) {
      paint(pixels, Math.floor(x), Math.floor(y), colour);
      [x, y] = [x + Math.cos(angle), y + Math.sin(angle)];
    }
  }
  const objects: Placed[] = [];
  const wanted = 1 + Math.floor(random() * MAX_OBJECTS);
  for (let attempt = 0; attempt < 40 && objects.length < wanted; attempt++) {
    const [width, height] = [Math.floor(between(MIN_SIZE, MAX_SIZE)), Math.floor(between(MIN_SIZE, MAX_SIZE))];
    if (Math.max(width, height) > 1.5 * Math.min(width, height)) continue;
    const [x, y] = [Math.floor(between(0, SIDE - width + 1)), Math.floor(between(0, SIDE - height + 1))];
    const box = [x, y, x + width, y + height] as const;
    if (objects.some(({ box: [x1, y1, x2, y2] }) => x < x2 && x1 < box[2] && y < y2 && y1 < box[3])) continue;
    const name = WORLD_CLASSES[Math.floor(random() * WORLD_CLASSES.length)]!;
    objects.push({ name, box });
    const [colourName, shape] = name.split('-') as [keyof typeof COLOURS, Shape];
    const colour = COLOURS[colourName].map((value) => value + between(-25, 25));
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const [u, v] = [(2 * (column + 0.5)) / width - 1, (2 * (row + 0.5)) / height - 1];
        if (inside(shape, u, v))
          paint(
            pixels,
            x + column,
            y + row,
            colour.map((value) => value + between(-10, 10)),
          );
      }
    }
  }
  return { image: { width: SIDE, height: SIDE, pixels }, objects };
}

/** Whether a point of [-1, 1] x [-1, 1] is in the shape that fills it. */
function inside(shape: Shape, u: number, v: number): boolean {
  const radius = Math.hypot(u, v);
  if (shape === 'disc') return radius <= 1;
  if (shape === 'ring') return radius <= 1 && radius >= 0.55;
  if (shape === 'triangle') return Math.abs(u) <= (v + 1) / 2;
  if (shape === 'cross') return Math.abs(u) <= 0.35 || Math.abs(v) <= 0.35;
  return true;
}

function paint(pixels: Uint8Array, x: number, y: number, colour: readonly number[]): void {
  if (x < 0 || y < 0 || x >= SIDE || y >= SIDE) return;
  for (const [channel, value] of colour.entries()) {
    pixels[3 * (y * SIDE + x) + channel] = Math.min(255, Math.max(0, value));
  }
}

function annotation(id: string, objects: readonly Placed[]): string {
  const lines = objects.flatMap(({ name, box: [x1, y1, x2, y2] }) => [
    '  <object>',
    `    <name>${name}</name>`,
    '    <difficult>0</difficult>',
    `    <bndbox><xmin>${x1 + 1}</xmin><ymin>${y1 + 1}</ymin><xmax>${x2}</xmax><ymax>${y2}</ymax></bndbox>`,
    '  </object>',
  ]);
  const size = `  <size><width>${SIDE}</width><height>${SIDE}</height><depth>3</depth></size>`;
  return ['<annotation>', `  <filename>${id}.jpg</filename>`, size, ...lines, '</annotation>', ''].join('\n');
}
