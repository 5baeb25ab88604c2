/** What model.json of a saved model says beside its graph. */
import { z } from 'zod';

export const MODEL_FORMAT = 'merak-inference';
export const MODEL_VERSION = 1;
export const MODEL_FILE = 'model.json';
export const WEIGHTS_FILE = 'model.safetensors';
export const TOKENIZER_FILE = 'tokenizer.json';

/** How a text becomes the fields of a sample. */
export const textSchema = z.object({
  /** The int32 field that takes token ids. */
  field: z.string(),
  /** The int32 field that takes 1 for tokens and 0 for padding, if the model has one. */
  maskField: z.string().optional(),
  /** What fills the field behind the text. Default 0. */
  padId: z.int().min(0).default(0),
  /** Whether the tokenizer adds its special tokens. Default false. */
  specialTokens: z.boolean().default(false),
});

/** How an output becomes a label. */
export const labelsSchema = z.object({
  names: z.array(z.string()).min(1),
  /** Default: the first output. */
  output: z.string().optional(),
  /** Logits are put through a softmax for the scores. */
  kind: z.enum(['logits', 'probabilities']).default('logits'),
});

export const layerSchema = z.object({
  mode: z.enum(['float', 'ffn', 'full']),
  attention: z.array(z.string()),
  feedForward: z.array(z.string()),
});

export const manifestSchema = z.object({
  format: z.literal(MODEL_FORMAT),
  version: z.literal(MODEL_VERSION),
  layers: z.array(layerSchema),
  text: textSchema.optional(),
  labels: labelsSchema.optional(),
  /** Of `model.safetensors`. */
  sha256: z.string(),
  graph: z.unknown(),
});

export type TextOptions = z.input<typeof textSchema>;
export type LabelOptions = z.input<typeof labelsSchema>;
export type Manifest = z.output<typeof manifestSchema>;
