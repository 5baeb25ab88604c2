/** merak.openSaved: a saved model that answers records, one JSON value each. */
import type { Tokenizer } from '@huggingface/tokenizers';
import type { ArrayField } from '../../data/arrays.js';
import { MerakError } from '../../errors.js';
import type { DType, Value } from '../../graph/graph.js';
import type { HostArray } from '../../runtime/device.js';
import { batchSizeOf, type Result, runBatches } from './batches.js';
import { type InferenceEngine, type InferenceOptions, openInference } from './engine.js';
import type { LayerPlan } from './model.js';
import { type LoadedModel, loadInference } from './saved.js';
import { openTokenizer } from './tokenizer.js';

/** Nested numbers, as deep as the output has dims. */
export type Nested = number | readonly Nested[];

export type Answer =
  | { readonly label: string; readonly scores: Readonly<Record<string, number>> }
  | { readonly outputs: Readonly<Record<string, Nested>> };

/**
 * @throws MerakError checkpoint/missing, checkpoint/corrupt, engine/unsupported
 * @example
 * const model = await merak.openSaved('runs/classifier');
 * const [answer] = await model.answer(['a title']);
 * model.close();
 */
export async function openSaved(folder: string, options: InferenceOptions = {}): Promise<SavedModel> {
  const loaded = await loadInference(folder);
  return new SavedModel(loaded, await openInference(loaded.variant.graph, loaded.variant.weights, options));
}

/** Made by `merak.openSaved`. */
export class SavedModel {
  private readonly tokenizer: Tokenizer | undefined;

  constructor(
    private readonly loaded: LoadedModel,
    private readonly engine: InferenceEngine,
  ) {
    this.tokenizer = loaded.tokenizer === undefined ? undefined : openTokenizer(loaded.tokenizer);
  }

  get layers(): readonly LayerPlan[] {
    return this.loaded.variant.layers;
  }

  /** Samples that run at once. */
  get batchSize(): number {
    return batchSizeOf(this.loaded.variant.graph);
  }

  /**
   * A record is a text (or `{ text }`) where the model has a tokenizer, else `{ field: nested numbers, ... }`. Texts are cut to the
   * length the model takes. `firstRecord` is the number that messages give the first one. Raises config/batch naming the record.
   */
  async answer(records: readonly unknown[], firstRecord = 1): Promise<Answer[]> {
    if (records.length === 0) return [];
    const { graph } = this.loaded.variant;
    const samples = records.map((record, index) => this.sampleOf(record, firstRecord + index));
    const fields = graph.inputs.map(({ name, value }): ArrayField => {
      const { shape, dtype } = graph.values[value]!;
      const rows = samples.map((sample) => sample.get(name)!);
      return { spec: { name, shape: shape.slice(1), dtype }, data: concatenated(dtype, rows) };
    });
    const results = await runBatches(this.engine, graph, fields, records.length);
    return records.map((_, index) => this.answerOf(results, index));
  }

  close(): void {
    this.engine.close();
  }

  private sampleOf(record: unknown, number: number): Map<string, readonly number[]> {
    const { graph } = this.loaded.variant;
    const { text } = this.loaded.manifest;
    const given = typeof record === 'string' ? record : (record as { text?: unknown } | null)?.text;
    const typeOf = (name: string): Value | undefined =>
      graph.values[graph.inputs.find((input) => input.name === name)?.value ?? -1];
    if (text !== undefined && this.tokenizer !== undefined && typeof given === 'string') {
      const length = typeOf(text.field)?.shape[1] ?? 0;
      const { ids } = this.tokenizer.encode(given, { add_special_tokens: text.specialTokens });
      const kept = ids.slice(0, length);
      const pad = (values: readonly number[], filler: number): number[] =>
        Array.from({ length }, (_, i) => values[i] ?? filler);
      const sample = new Map<string, readonly number[]>([[text.field, pad(kept, text.padId)]]);
      if (text.maskField !== undefined)
        sample.set(
          text.maskField,
          pad(
            kept.map(() => 1),
            0,
          ),
        );
      return sample;
    }
    return new Map(
      graph.inputs.map(({ name, value }) => {
        const { shape, dtype } = graph.values[value]!;
        const flat = flatten((record as Readonly<Record<string, unknown>> | null)?.[name], shape.slice(1));
        if (flat !== undefined) return [name, flat];
        throw new MerakError('config/batch', `record ${number} does not fit the model`, {
          path: `record ${number}, field ${name}`,
          expected: text === undefined ? `${dtype} [${shape.slice(1).join(', ')}]` : 'a text, or { "text": "..." }',
          received: JSON.stringify(record)?.slice(0, 80) ?? 'undefined',
        });
      }),
    );
  }

  private answerOf(results: readonly Result[], index: number): Answer {
    const { labels } = this.loaded.manifest;
    const part = ({ sampleShape, data }: Result): readonly number[] => {
      const size = sampleShape.reduce((product, extent) => product * extent, 1);
      return Array.from(data.subarray(index * size, (index + 1) * size));
    };
    if (labels === undefined) {
      return {
        outputs: Object.fromEntries(results.map((result) => [result.name, nest(part(result), result.sampleShape)])),
      };
    }
    const result = results.find(({ name }) => name === labels.output) ?? results[0];
    const values = result === undefined ? [] : part(result);
    if (values.length !== labels.names.length) {
      throw new MerakError('checkpoint/mismatch', 'the model has another number of scores than of labels', {
        expected: `${labels.names.length} labels`,
        received: `${values.length} scores`,
      });
    }
    const scores = labels.kind === 'logits' ? softmax(values) : values;
    const top = scores.reduce((best, score, i) => (score > (scores[best] ?? 0) ? i : best), 0);
    return { label: labels.names[top]!, scores: Object.fromEntries(labels.names.map((name, i) => [name, scores[i]!])) };
  }
}

function softmax(logits: readonly number[]): number[] {
  const highest = logits.reduce((max, logit) => Math.max(max, logit), Number.NEGATIVE_INFINITY);
  const exps = logits.map((logit) => Math.exp(logit - highest));
  const sum = exps.reduce((total, value) => total + value, 0);
  return exps.map((value) => value / sum);
}

function concatenated(dtype: DType, rows: readonly (readonly number[])[]): HostArray {
  const flat = rows.flat();
  if (dtype === 'float32') return Float32Array.from(flat);
  return dtype === 'int32' ? Int32Array.from(flat) : Uint8Array.from(flat);
}

/** The numbers of a nested array of this very shape, or undefined. */
function flatten(value: unknown, shape: readonly number[]): number[] | undefined {
  const [extent, ...rest] = shape;
  if (extent === undefined) {
    const scalar = typeof value === 'boolean' ? Number(value) : value;
    return typeof scalar === 'number' ? [scalar] : undefined;
  }
  if (!Array.isArray(value) || value.length !== extent) return undefined;
  const parts = value.map((part: unknown) => flatten(part, rest));
  return parts.every((part) => part !== undefined) ? parts.flat() : undefined;
}

function nest(flat: readonly number[], shape: readonly number[]): Nested {
  const [extent, ...rest] = shape;
  if (extent === undefined) return flat[0] ?? 0;
  const size = flat.length / extent;
  return Array.from({ length: extent }, (_, i) => nest(flat.slice(i * size, (i + 1) * size), rest));
}
