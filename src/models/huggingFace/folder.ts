/** Folders as Hugging Face has them: config.json and model.safetensors. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { MerakError } from '../../errors.js';
import { type Bert, bert } from '../bert.js';
import { type Gpt, gpt } from '../gpt.js';
import { familyOf, type HuggingFaceModel } from './family.js';
import { loadHuggingFace, saveHuggingFaceWeights } from './weights.js';

const count = z.number().int().min(1);

/** The keys that matter; files have many more. */
const encoderSchema = z.object({
  model_type: z.enum(['bert', 'xlm-roberta', 'roberta', 'camembert']),
  vocab_size: count,
  max_position_embeddings: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  hidden_size: count,
  intermediate_size: count,
  type_vocab_size: count.default(2),
  layer_norm_eps: z.number().positive().default(1e-12),
  hidden_act: z.literal('gelu').default('gelu'),
  /** Ours: blocks that repeat, and a narrow token table. */
  num_repeats: count.default(1),
  embedding_size: count.optional(),
});

const gptSchema = z.object({
  model_type: z.literal('gpt2'),
  vocab_size: count,
  n_positions: count,
  n_layer: count,
  n_head: count,
  n_embd: count,
  n_inner: z.null().optional(),
  activation_function: z.literal('gelu_new').default('gelu_new'),
  layer_norm_epsilon: z.literal(1e-5).default(1e-5),
});

const configSchema = z.discriminatedUnion('model_type', [encoderSchema, gptSchema]);

/** RoBERTa's padding id, 1, and the row after it: where its positions begin. */
const ROBERTA_OFFSET = 2;

export interface OpenOptions {
  /** Rate in training. Default 0. */
  readonly dropout?: number;
  /** What variables' names begin with. */
  readonly name?: string;
  /** Takes the first so many layers. */
  readonly numLayers?: number;
  /** Takes so many positions. */
  readonly contextLength?: number;
}

/**
 * The model of a folder with config.json and model.safetensors: BERT, MiniLM, XLM-R, RoBERTa (a `models.bert`) or GPT-2 (a
 * `models.gpt`), with its weights.
 *
 * @throws MerakError checkpoint/missing, checkpoint/corrupt, checkpoint/mismatch
 * @example
 * const model = await merak.models.openHuggingFace('models/xlm-roberta-base', { contextLength: 128 });
 */
export async function openHuggingFace(folder: string, options: OpenOptions = {}): Promise<Bert | Gpt> {
  const config = await readConfig(join(folder, 'config.json'));
  const model = config.model_type === 'gpt2' ? gptOf(config, options) : bertOf(config, options);
  try {
    await loadHuggingFace(model, folder);
  } catch (error) {
    model.dispose();
    throw error;
  }
  return model;
}

/** Writes config.json and model.safetensors, which `openHuggingFace` and Hugging Face's libraries read (repeats and bottlenecks only the first). */
export async function saveHuggingFace(model: HuggingFaceModel, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), `${JSON.stringify(configOf(model), null, 1)}\n`);
  await saveHuggingFaceWeights(model, join(folder, 'model.safetensors'));
}

async function readConfig(file: string): Promise<z.output<typeof configSchema>> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new MerakError('checkpoint/missing', 'there is no config.json', { path: file, cause });
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new MerakError('checkpoint/corrupt', 'config.json is not JSON', { path: file, cause });
  }
  const result = configSchema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw new MerakError('checkpoint/mismatch', `a model that Merak does not know: ${issue.message}`, {
    path: `${file}: ${issue.path.join('.')}`,
    expected: 'bert, xlm-roberta, roberta or gpt2, with the activation they were made with',
  });
}

function bertOf(config: z.output<typeof encoderSchema>, options: OpenOptions): Bert {
  const positionOffset = config.model_type === 'bert' ? 0 : ROBERTA_OFFSET;
  const { numLayers = config.num_hidden_layers, ...rest } = options;
  return bert({
    vocabularySize: config.vocab_size,
    contextLength: config.max_position_embeddings - positionOffset,
    numLayers,
    numHeads: config.num_attention_heads,
    hiddenSize: config.hidden_size,
    feedForwardSize: config.intermediate_size,
    numSegments: config.type_vocab_size,
    numRepeats: config.num_repeats,
    bottleneckSize: config.embedding_size ?? null,
    positionOffset,
    epsilon: config.layer_norm_eps,
    ...rest,
  });
}

function gptOf(config: z.output<typeof gptSchema>, { name: _, ...options }: OpenOptions): Gpt {
  return gpt({
    vocabularySize: config.vocab_size,
    contextLength: config.n_positions,
    numLayers: config.n_layer,
    numHeads: config.n_head,
    hiddenSize: config.n_embd,
    ...options,
  });
}

function configOf(model: HuggingFaceModel): object {
  const { config } = model;
  const family = familyOf(model);
  if ('tiedEmbeddings' in config) {
    return {
      model_type: family,
      architectures: ['GPT2LMHeadModel'],
      vocab_size: config.vocabularySize,
      n_positions: config.contextLength,
      n_layer: config.numLayers,
      n_head: config.numHeads,
      n_embd: config.hiddenSize,
      activation_function: 'gelu_new',
      layer_norm_epsilon: 1e-5,
      tie_word_embeddings: config.tiedEmbeddings,
    };
  }
  const isBare = 'encode' in model;
  const stem = family === 'bert' ? 'Bert' : 'XLMRoberta';
  return {
    model_type: family,
    architectures: [`${stem}${isBare ? 'Model' : 'ForMaskedLM'}`],
    vocab_size: config.vocabularySize,
    max_position_embeddings: config.contextLength + config.positionOffset,
    num_hidden_layers: config.numLayers,
    num_attention_heads: config.numHeads,
    hidden_size: config.hiddenSize,
    intermediate_size: config.feedForwardSize,
    type_vocab_size: config.numSegments,
    layer_norm_eps: config.epsilon,
    hidden_act: 'gelu',
    ...(config.numRepeats === 1 ? {} : { num_repeats: config.numRepeats }),
    ...(config.bottleneckSize === null ? {} : { embedding_size: config.bottleneckSize }),
  };
}
