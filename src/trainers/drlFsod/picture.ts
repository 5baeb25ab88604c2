/** Test images with what was found on them, for the eye: one SVG, the images inside as JPEG. */
import type { AnnotatedImage } from '../vision/annotations.js';
import type { Detection } from '../vision/averagePrecision.js';
import { encodeJpeg } from '../vision/jpeg.js';

const SCALE = 4;
const GAP = 8;
const COLUMNS = 3;

/** True boxes dashed white, detections in orange with class and score. */
export function drawDetections(
  images: readonly AnnotatedImage[],
  detections: readonly Detection[],
  classes: readonly string[],
): string {
  const { width = 1, height = 1 } = images[0] ?? {};
  const [stepX, stepY] = [width * SCALE + GAP, height * SCALE + GAP];
  const panels = images.map((image, i) => {
    const uri = `data:image/jpeg;base64,${Buffer.from(encodeJpeg(image)).toString('base64')}`;
    const found = detections.filter((one) => one.image === i);
    return [
      `<g transform="translate(${(i % COLUMNS) * stepX} ${Math.floor(i / COLUMNS) * stepY})">`,
      `<image href="${uri}" width="${width * SCALE}" height="${height * SCALE}" preserveAspectRatio="none"/>`,
      ...image.objects.map(({ box }) => rectangle(box, 'stroke="white" stroke-dasharray="4 3"')),
      ...found.map(({ box }) => rectangle(box, 'stroke="orange" stroke-width="2"')),
      ...found.map(({ box, label, score }) => {
        const [x, y] = [box[0]! * SCALE + 2, Math.max(11, box[1]! * SCALE - 3)];
        return `<text x="${x}" y="${y}">${classes[label]} ${score.toFixed(2)}</text>`;
      }),
      '</g>',
    ].join('');
  });
  const across = Math.min(COLUMNS, images.length) * stepX;
  const down = Math.ceil(images.length / COLUMNS) * stepY;
  const style =
    '<style>rect{fill:none}text{font:11px sans-serif;fill:orange;stroke:black;stroke-width:3px;paint-order:stroke}</style>';
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${across}" height="${down}">${style}${panels.join('\n')}</svg>\n`;
}

function rectangle([x1 = 0, y1 = 0, x2 = 0, y2 = 0]: readonly number[], attributes: string): string {
  const [x, y, width, height] = [x1, y1, x2 - x1, y2 - y1].map((value) => (value * SCALE).toFixed(1));
  return `<rect x="${x}" y="${y}" width="${width}" height="${height}" ${attributes}/>`;
}
