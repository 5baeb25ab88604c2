/** Forward passes of BERT, XLM-R and GPT-2 written out on tensors by their Hugging Face names, and files of such tensors. */
import { writeFile } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs';

export interface Named {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export type Weights = Map<string, Named>;

/** Numbers of a fixed sequence, about as large as trained weights; norms near 1. */
export function makeWeights(shapes: Readonly<Record<string, readonly number[]>>): Weights {
  let state = 1;
  const next = (): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  return new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const isGain = /(LayerNorm|layer_norm|ln_\w+)\.(weight|gamma)$/.test(name);
      const size = shape.reduce((product, extent) => product * extent, 1);
      return [name, { shape, data: Float32Array.from({ length: size }, () => (isGain ? 1 : 0) + next() * 0.6) }];
    }),
  );
}

/** The names and shapes of BERT's (or RoBERTa's) encoder. */
export function encoderShapes(prefix: string, config: EncoderShape): Record<string, number[]> {
  const { vocabulary, positions, segments, layers, hidden, inner, norm } = config;
  const [gain, shift] = norm === 'old' ? ['gamma', 'beta'] : ['weight', 'bias'];
  const linear = (name: string, inputs: number, outputs: number) => ({
    [`${name}.weight`]: [outputs, inputs],
    [`${name}.bias`]: [outputs],
  });
  const layerNorm = (name: string) => ({ [`${name}.${gain}`]: [hidden], [`${name}.${shift}`]: [hidden] });
  const block = (layer: number) => {
    const name = `${prefix}encoder.layer.${layer}`;
    return {
      ...linear(`${name}.attention.self.query`, hidden, hidden),
      ...linear(`${name}.attention.self.key`, hidden, hidden),
      ...linear(`${name}.attention.self.value`, hidden, hidden),
      ...linear(`${name}.attention.output.dense`, hidden, hidden),
      ...layerNorm(`${name}.attention.output.LayerNorm`),
      ...linear(`${name}.intermediate.dense`, hidden, inner),
      ...linear(`${name}.output.dense`, inner, hidden),
      ...layerNorm(`${name}.output.LayerNorm`),
    };
  };
  return Object.assign(
    {
      [`${prefix}embeddings.word_embeddings.weight`]: [vocabulary, hidden],
      [`${prefix}embeddings.position_embeddings.weight`]: [positions, hidden],
      [`${prefix}embeddings.token_type_embeddings.weight`]: [segments, hidden],
      ...layerNorm(`${prefix}embeddings.LayerNorm`),
    },
    ...Array.from({ length: layers }, (_, layer) => block(layer)),
  );
}

export interface EncoderShape {
  readonly vocabulary: number;
  readonly positions: number;
  readonly segments: number;
  readonly layers: number;
  readonly hidden: number;
  readonly inner: number;
  /** old: gamma and beta, as the first BERT files have. */
  readonly norm: 'old' | 'new';
}

export class Forward {
  constructor(
    private readonly weights: Weights,
    private readonly prefix: string,
    private readonly epsilon: number,
  ) {}

  get(name: string): tf.Tensor {
    const found = this.weights.get(this.prefix + name) ?? this.weights.get(name);
    if (found === undefined) throw new Error(`no ${name}`);
    return tf.tensor(found.data, [...found.shape]);
  }

  /** PyTorch's Linear: x W' + b. */
  linear(x: tf.Tensor, name: string): tf.Tensor {
    return this.product(x, tf.transpose(this.get(`${name}.weight`)), this.get(`${name}.bias`));
  }

  /** GPT-2's Conv1D: x W + b. */
  conv1d(x: tf.Tensor, name: string): tf.Tensor {
    return this.product(x, this.get(`${name}.weight`), this.get(`${name}.bias`));
  }

  private product(x: tf.Tensor, w: tf.Tensor, b: tf.Tensor): tf.Tensor {
    const [batch = 0, length = 0, width = 0] = x.shape;
    const rows = tf.matMul(tf.reshape(x, [batch * length, width]), w as tf.Tensor2D).add(b);
    return tf.reshape(rows, [batch, length, w.shape[1]!]);
  }

  norm(x: tf.Tensor, name: string): tf.Tensor {
    const isOld = [this.prefix, ''].some((prefix) => this.weights.has(`${prefix}${name}.gamma`));
    const { mean, variance } = tf.moments(x, -1, true);
    const scaled = x.sub(mean).div(variance.add(this.epsilon).sqrt());
    return scaled
      .mul(this.get(`${name}.${isOld ? 'gamma' : 'weight'}`))
      .add(this.get(`${name}.${isOld ? 'beta' : 'bias'}`));
  }

  /** [b, T, H] with `bias` [b | 1, 1, T | 1, T] added to the scores. */
  attend(
    q: tf.Tensor,
    k: tf.Tensor,
    v: tf.Tensor,
    heads: number,
    bias: tf.Tensor,
  ): { mixed: tf.Tensor; weights: tf.Tensor } {
    const [batch = 0, length = 0, width = 0] = q.shape;
    const split = (x: tf.Tensor) => tf.transpose(tf.reshape(x, [batch, length, heads, width / heads]), [0, 2, 1, 3]);
    const scores = tf.matMul(split(q), split(k), false, true).div(Math.sqrt(width / heads));
    const weights = tf.softmax(scores.add(bias));
    const mixed = tf.reshape(tf.transpose(tf.matMul(weights, split(v)), [0, 2, 1, 3]), [batch, length, width]);
    return { mixed, weights };
  }
}

export function geluErf(x: tf.Tensor): tf.Tensor {
  return x.mul(tf.erf(x.div(Math.SQRT2)).add(1)).mul(0.5);
}

export function geluTanh(x: tf.Tensor): tf.Tensor {
  return x.mul(tf.tanh(x.add(x.pow(3).mul(0.044715)).mul(Math.sqrt(2 / Math.PI))).add(1)).mul(0.5);
}

export type FileDType = 'F32' | 'F16' | 'BF16';

/** A safetensors file, byte by byte; `extra` are int64 buffers such as position_ids. */
export async function writeFileOf(
  path: string,
  weights: Weights,
  dtype: FileDType = 'F32',
  extra: readonly string[] = [],
): Promise<void> {
  const header: Record<string, object> = { __metadata__: { format: 'pt' } };
  const chunks: Buffer[] = [];
  let offset = 0;
  const add = (name: string, type: string, shape: readonly number[], bytes: Buffer) => {
    header[name] = { dtype: type, shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
    chunks.push(bytes);
  };
  for (const name of extra) add(name, 'I64', [1, 4], Buffer.alloc(32));
  for (const [name, { shape, data }] of weights) add(name, dtype, shape, encode(data, dtype));
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  await writeFile(path, Buffer.concat([length, json, ...chunks]));
}

/** The nearest number of the format, by cutting its bits off: the weights are cut alike beforehand. */
export function cutTo(weights: Weights, dtype: FileDType): Weights {
  if (dtype === 'F32') return weights;
  return new Map(
    [...weights].map(([name, { shape, data }]) => {
      const bits = new Uint32Array(data.slice().buffer);
      // bfloat16 keeps 7 bits of the fraction, float16 10 (and less for numbers below 2^-14, which go to 0 here).
      const kept = bits.map((one) => (dtype === 'BF16' ? one & 0xffff0000 : one & 0xffffe000));
      const cut = new Float32Array(kept.buffer).map((x) => (dtype === 'F16' && Math.abs(x) < 2 ** -14 ? 0 : x));
      return [name, { shape, data: cut }];
    }),
  );
}

function encode(data: Float32Array, dtype: FileDType): Buffer {
  if (dtype === 'F32') return Buffer.from(data.slice().buffer);
  const halves = new Uint16Array(data.length);
  const bits = new Uint32Array(data.slice().buffer);
  for (const [i, one] of bits.entries()) {
    const sign = (one >>> 16) & 0x8000;
    const exponent = ((one >>> 23) & 0xff) - 127 + 15;
    halves[i] = dtype === 'BF16' ? one >>> 16 : data[i] === 0 ? sign : sign | (exponent << 10) | ((one >>> 13) & 0x3ff);
  }
  return Buffer.from(halves.buffer);
}
