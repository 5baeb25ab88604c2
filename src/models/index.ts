/** `merak.models`: models built on the fused kernels. */
export { type Bert, type BertConfig, bert } from './bert.js';
export type { DecoderState } from './decoding.js';
export { type Encoded, type EncodeOptions, type Encoder, type EncoderParts, encoder } from './encoder.js';
export type { EncoderConfig } from './encoderConfig.js';
export { type EncoderDecoder, type EncoderDecoderParts, encoderDecoder } from './encoderDecoder.js';
export type { EncoderDecoderConfig } from './encoderDecoderConfig.js';
export { type Gpt, type GptConfig, gpt } from './gpt.js';
export type { HuggingFaceModel } from './huggingFace/family.js';
export { openHuggingFace, saveHuggingFace } from './huggingFace/folder.js';
export { type LoadedWeights, loadHuggingFace, saveHuggingFaceWeights } from './huggingFace/weights.js';
export { meanOverTokens, POOLINGS, type Pooling, pool } from './pooling.js';
