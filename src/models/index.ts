/** `merak.models`: models built on the fused kernels. */
export { type Bert, type BertConfig, bert } from './bert.js';
export { type Gpt, type GptConfig, gpt } from './gpt.js';
