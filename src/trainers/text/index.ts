/** `merak.text`: tokenizers, loaded or trained. */
export { loadTokenizer, saveTokenizer } from './files.js';
export { TOKENIZER_KINDS, type TokenizerKind } from './pipeline.js';
export { type EncodedBatch, makeTokenizer, type TextTokenizer } from './tokenizer.js';
export { SPECIAL_TOKENS, type TrainTokenizerOptions, trainTokenizer } from './train.js';
