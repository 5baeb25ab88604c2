/** Registers Merak's kernels and their gradients with tfjs. */
import * as tf from '@tensorflow/tfjs';
import { attention, attentionGrad } from './attention.js';
import { batchNorm, batchNormGrad } from './batchNorm.js';
import {
  allGather,
  allGatherStart,
  allReduce,
  allReduceStart,
  fanOut,
  reduceScatter,
  reduceScatterStart,
  shard,
  wait,
} from './collectives.js';
import { columnSum } from './columnSum.js';
import { type KernelDefinition, kernelFunction } from './definition.js';
import { embedding, embeddingGrad } from './embedding.js';
import { gelu, geluGrad } from './gelu.js';
import { layerNorm, layerNormGrad } from './layerNorm.js';
import { packedAttention, packedAttentionGrad } from './packedAttention.js';
import { product } from './product.js';
import { quantise, quantisedMatMul } from './quantised.js';
import { dropout, random } from './random.js';
import { shardedCrossEntropy, softmaxCrossEntropy, softmaxCrossEntropyGrad } from './softmaxCrossEntropy.js';
import { vocabParallelCrossEntropy } from './vocabParallelCrossEntropy.js';

export const KERNELS: readonly KernelDefinition[] = [
  attention,
  attentionGrad,
  packedAttention,
  packedAttentionGrad,
  columnSum,
  product,
  layerNorm,
  layerNormGrad,
  batchNorm,
  batchNormGrad,
  gelu,
  geluGrad,
  softmaxCrossEntropy,
  softmaxCrossEntropyGrad,
  shardedCrossEntropy,
  vocabParallelCrossEntropy,
  embedding,
  embeddingGrad,
  quantise,
  quantisedMatMul,
  dropout,
  random,
  allReduce,
  fanOut,
  allGather,
  shard,
  reduceScatter,
  allReduceStart,
  allGatherStart,
  reduceScatterStart,
  wait,
];

let gradientsRegistered = false;

/** Registers the gradients, once. They are backend-independent: each calls its grad kernel through the engine. */
export function registerGradients(): void {
  if (gradientsRegistered) return;
  gradientsRegistered = true;
  for (const { kernel, gradient } of KERNELS) {
    if (gradient !== undefined) tf.registerGradient({ kernelName: kernel, ...gradient });
  }
}

/** Registers the gradients, and the reference composites for a backend that lacks a kernel. Costs little when done already. */
export function ensureKernels(backendName: string): void {
  registerGradients();
  for (const definition of KERNELS) {
    if (tf.getKernel(definition.kernel, backendName) != null) continue;
    tf.registerKernel({ kernelName: definition.kernel, backendName, kernelFunc: kernelFunction(definition) });
  }
}
