/** tf.layers' initialisers as recorded data: patches for the time of a `lazy` build. */
import * as tf from '@tensorflow/tfjs';
import type { DType, Initializer } from '../graph/graph.js';
import { patch } from './patch.js';

type LayerInitializer = ReturnType<typeof tf.initializers.zeros>;
type Config = ReturnType<LayerInitializer['getConfig']>;

const number = (config: Config, name: string): number => Number(config[name]);

/** What each class of tf.layers draws, from its config and the weight's shape. */
const RECORDED: readonly (readonly [LayerInitializer, (config: Config, shape: readonly number[]) => Initializer])[] = [
  [tf.initializers.zeros(), () => ({ kind: 'constant', value: 0 })],
  [tf.initializers.ones(), () => ({ kind: 'constant', value: 1 })],
  [tf.initializers.constant({ value: 0 }), (config) => ({ kind: 'constant', value: number(config, 'value') })],
  [
    tf.initializers.randomUniform({}),
    (config) => ({ kind: 'uniform', low: number(config, 'minval'), high: number(config, 'maxval') }),
  ],
  [
    tf.initializers.randomNormal({}),
    (config) => ({ kind: 'normal', mean: number(config, 'mean'), stddev: number(config, 'stddev') }),
  ],
  [
    tf.initializers.truncatedNormal({}),
    (config) => ({ kind: 'truncatedNormal', mean: number(config, 'mean'), stddev: number(config, 'stddev') }),
  ],
  [tf.initializers.varianceScaling({ scale: 1, mode: 'fanIn', distribution: 'normal' }), varianceScaling],
];

/** Classes that only exist by computing: they run for real. */
const COMPUTED: readonly LayerInitializer[] = [tf.initializers.identity({}), tf.initializers.orthogonal({ seed: 0 })];

/**
 * Glorot, He and LeCun are its special cases: variance = scale / fan. He et al. 2015, Glorot and Bengio 2010; fans as
 * tf.layers counts them, channels last.
 */
function varianceScaling(config: Config, shape: readonly number[]): Initializer {
  const { fanIn, fanOut } = fans(shape);
  const fan = config.mode === 'fanIn' ? fanIn : config.mode === 'fanOut' ? fanOut : (fanIn + fanOut) / 2;
  const variance = number(config, 'scale') / Math.max(1, fan);
  if (config.distribution === 'normal') return { kind: 'truncatedNormal', mean: 0, stddev: Math.sqrt(variance) };
  const limit = Math.sqrt(3 * variance);
  return { kind: 'uniform', low: -limit, high: limit };
}

function fans(shape: readonly number[]): { fanIn: number; fanOut: number } {
  const [fanIn = 1, fanOut = 1] = shape.slice(-2);
  if (shape.length < 2 || shape.length > 5) {
    const side = Math.sqrt(shape.reduce((product, dim) => product * dim, 1));
    return { fanIn: side, fanOut: side };
  }
  const window = shape.slice(0, -2).reduce((product, dim) => product * dim, 1);
  return { fanIn: fanIn * window, fanOut: fanOut * window };
}

export interface InitializerHooks {
  /** Makes a float32 tensor that stands for an initialiser. */
  record(initializer: Initializer, shape: readonly number[]): tf.Tensor;
  /** Runs an initialiser on a real backend and keeps its data. */
  compute(run: () => tf.Tensor, shape: readonly number[]): tf.Tensor;
}

/** Patches for `patched`: while applied, tf.layers' initialisers go through the hooks. */
export function layerInitializerPatches(hooks: InitializerHooks): (() => () => void)[] {
  const isFloat = (dtype: string | undefined): dtype is Extract<DType, 'float32'> | undefined =>
    dtype === undefined || dtype === 'float32';
  const recorded = RECORDED.map(([sample, describe]) => () => {
    const prototype: LayerInitializer = Object.getPrototypeOf(sample);
    return patch(prototype, 'apply', (apply) => {
      return function (this: LayerInitializer, shape, dtype) {
        if (!isFloat(dtype)) return apply.call(this, shape, dtype);
        return hooks.record(describe(this.getConfig(), numbers(shape)), numbers(shape));
      };
    });
  });
  const computed = COMPUTED.map((sample) => () => {
    const prototype: LayerInitializer = Object.getPrototypeOf(sample);
    return patch(prototype, 'apply', (apply) => {
      return function (this: LayerInitializer, shape, dtype) {
        return hooks.compute(() => apply.call(this, shape, dtype), numbers(shape));
      };
    });
  });
  return [...recorded, ...computed];
}

function numbers(shape: readonly (number | null)[]): number[] {
  return shape.map((size) => size ?? 1);
}
