/** Texts as words: of any language with its signs, or letters and digits alone. */

/** A number, a Chinese character, a run of letters, or one sign of anything else, in lower case (NFC). */
const WORD_OR_SIGN = /\p{Script=Han}|[\p{L}\p{M}]+|\p{N}+|[^\s\p{L}\p{M}\p{N}]/gu;

export function wordsOf(text: string): string[] {
  return text.normalize('NFC').toLowerCase().match(WORD_OR_SIGN)?.flatMap(splitHan) ?? [];
}

function splitHan(word: string): string[] {
  return /\p{Script=Han}/u.test(word) ? [...word] : [word];
}

/** Runs of letters and digits in lower case: what is counted for the meaning of words. */
export function plainWordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}
