/** The 256 characters that stand for bytes in byte-level tokenizers (Radford et al. 2019): printable ones for themselves. */

const PRINTABLE: readonly (readonly [first: number, last: number])[] = [
  [0x21, 0x7e],
  [0xa1, 0xac],
  [0xae, 0xff],
];

/** In the order of their bytes. */
export function byteAlphabet(): string[] {
  let numMoved = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const stays = PRINTABLE.some(([first, last]) => byte >= first && byte <= last);
    return String.fromCodePoint(stays ? byte : 256 + numMoved++);
  });
}
