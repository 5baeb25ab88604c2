/** `merak.nn`: functions that call Merak's fused kernels. */
export { type AttentionArguments, attention } from './attention.js';
export { attentionProbabilities } from './attentionProbabilities.js';
export {
  allGather,
  allReduce,
  axisIndex,
  type DimOptions,
  gatherBatch,
  numShards,
  ownShard,
  type ReduceOperation,
} from './collectives.js';
export { dense } from './dense.js';
export { embedding } from './embedding.js';
export { gelu } from './gelu.js';
export { layerNorm } from './layerNorm.js';
export { type DropoutOptions, dropout, type RandomOptions, randomNormal, randomUniform, setStep } from './random.js';
export { softmaxCrossEntropy } from './softmaxCrossEntropy.js';
export { type VariableOptions, variable } from './variable.js';
