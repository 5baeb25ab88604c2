/** merak.openTokenizer: a tokenizer.json on @huggingface/tokenizers. */
import { Tokenizer } from '@huggingface/tokenizers';
import { MerakError } from '../../errors.js';

/**
 * From the contents of a tokenizer.json. The library knows the unknown token of word-level models only from a second file; here it is
 * read where the first one has it (docs/bugs.md). Raises checkpoint/corrupt on what is no tokenizer.
 *
 * @example
 * const { ids } = merak.openTokenizer(JSON.parse(text)).encode('a title', { add_special_tokens: false });
 */
export function openTokenizer(json: object): Tokenizer {
  const { model } = json as { readonly model?: { readonly unk_token?: unknown } };
  try {
    return new Tokenizer(json, { unk_token: model?.unk_token });
  } catch (cause) {
    throw new MerakError('checkpoint/corrupt', `a tokenizer cannot be used: ${(cause as Error).message}`, {
      path: 'tokenizer.json',
      cause,
    });
  }
}
