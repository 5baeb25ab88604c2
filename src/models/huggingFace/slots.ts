/** Which tensor of a Hugging Face file is which part of which variable. */
import type * as tf from '@tensorflow/tfjs';
import type { Bert } from '../bert.js';
import type { Encoder } from '../encoder.js';
import type { Gpt } from '../gpt.js';
import type { Block, Linear, Norm } from '../transformer.js';

/** One tensor of a file and the variable, or the columns of it, that it is. */
export interface Slot {
  /** Without the model's prefix unless `isAbsolute`; the first is what is written, any is read. */
  readonly names: readonly string[];
  /** Whether the names stand as they are, whatever the prefix. */
  readonly isAbsolute?: boolean;
  readonly variable: tf.Variable;
  /** The last dim's part, for pieces of a fused q|k|v. */
  readonly columns?: { readonly begin: number; readonly size: number };
  /** Whether the file has [outputs, inputs]. */
  readonly transposed?: boolean;
  /** Whether the file may have more rows, of which the first are taken (longer position tables). */
  readonly mayHaveMoreRows?: boolean;
  /** Whether a file may lack it: heads that not every checkpoint has. */
  readonly isOptional?: boolean;
}

/** As PyTorch's LayerNorm; older BERT files say gamma and beta. */
function normSlots(name: string, { gamma, beta }: Norm, more: Partial<Slot> = {}): Slot[] {
  return [
    { names: [`${name}.weight`, `${name}.gamma`], variable: gamma, ...more },
    { names: [`${name}.bias`, `${name}.beta`], variable: beta, ...more },
  ];
}

/** As PyTorch's Linear, whose weight is [outputs, inputs]. */
function linearSlots(name: string, { weight, bias }: Linear, more: Partial<Slot> = {}): Slot[] {
  return [
    { names: [`${name}.weight`], variable: weight, transposed: true, ...more },
    { names: [`${name}.bias`], variable: bias, ...more },
  ];
}

/** BERT's and XLM-R's blocks keep q, k and v apart. */
function encoderBlockSlots(layer: number, block: Block): Slot[] {
  const name = `encoder.layer.${layer}`;
  const size = block.qkv.bias.size / 3;
  const qkv = ['query', 'key', 'value'].flatMap((part, i) =>
    linearSlots(`${name}.attention.self.${part}`, block.qkv, { columns: { begin: i * size, size } }),
  );
  return [
    ...qkv,
    ...linearSlots(`${name}.attention.output.dense`, block.projection),
    ...normSlots(`${name}.attention.output.LayerNorm`, block.norm1),
    ...linearSlots(`${name}.intermediate.dense`, block.expand),
    ...linearSlots(`${name}.output.dense`, block.contract),
    ...normSlots(`${name}.output.LayerNorm`, block.norm2),
  ];
}

/** BERT, MiniLM, XLM-R without heads. A bottleneck has the name ALBERT gives its projection. */
export function encoderSlots({ parts }: Encoder): Slot[] {
  const { tokenTable, bottleneck, segmentTable, positionTable, embeddingNorm, blocks } = parts;
  return [
    { names: ['embeddings.word_embeddings.weight'], variable: tokenTable },
    ...(bottleneck === null
      ? []
      : [{ names: ['encoder.embedding_hidden_mapping_in.weight'], variable: bottleneck, transposed: true }]),
    { names: ['embeddings.position_embeddings.weight'], variable: positionTable, mayHaveMoreRows: true },
    { names: ['embeddings.token_type_embeddings.weight'], variable: segmentTable },
    ...normSlots('embeddings.LayerNorm', embeddingNorm),
    ...blocks.flatMap((block, layer) => encoderBlockSlots(layer, block)),
  ];
}

/** @param isRoberta whether the masked-language-model head has RoBERTa's names */
export function bertSlots({ encoder, heads }: Bert, isRoberta: boolean): Slot[] {
  const own = { isOptional: true, isAbsolute: true };
  const names = isRoberta
    ? { dense: 'lm_head.dense', norm: 'lm_head.layer_norm', bias: ['lm_head.bias', 'lm_head.decoder.bias'] }
    : {
        dense: 'cls.predictions.transform.dense',
        norm: 'cls.predictions.transform.LayerNorm',
        bias: ['cls.predictions.bias', 'cls.predictions.decoder.bias'],
      };
  return [
    ...encoderSlots(encoder),
    ...linearSlots('pooler.dense', heads.pooler, { isOptional: true }),
    ...linearSlots(names.dense, heads.transform, own),
    ...normSlots(names.norm, heads.norm, own),
    { names: names.bias, variable: heads.bias, ...own },
  ];
}

/** GPT-2, whose Conv1D weights are [inputs, outputs] and q|k|v fused, as ours. */
export function gptSlots({ parts }: Gpt): Slot[] {
  const { tokenTable, positionTable, blocks, finalNorm, head } = parts;
  const conv1d = (name: string, { weight, bias }: Linear): Slot[] => [
    { names: [`${name}.weight`], variable: weight },
    { names: [`${name}.bias`], variable: bias },
  ];
  return [
    { names: ['wte.weight'], variable: tokenTable },
    { names: ['wpe.weight'], variable: positionTable, mayHaveMoreRows: true },
    ...blocks.flatMap((block, layer) => [
      ...normSlots(`h.${layer}.ln_1`, block.norm1),
      ...conv1d(`h.${layer}.attn.c_attn`, block.qkv),
      ...conv1d(`h.${layer}.attn.c_proj`, block.projection),
      ...normSlots(`h.${layer}.ln_2`, block.norm2),
      ...conv1d(`h.${layer}.mlp.c_fc`, block.expand),
      ...conv1d(`h.${layer}.mlp.c_proj`, block.contract),
    ]),
    ...normSlots('ln_f', finalNorm),
    ...(head === null ? [] : [{ names: ['lm_head.weight'], isAbsolute: true, variable: head, transposed: true }]),
  ];
}
