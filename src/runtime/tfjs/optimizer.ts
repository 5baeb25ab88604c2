/** Optimizer updates with tfjs ops, in tfjs's own order of operations, so that a run can be compared with model.fit. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import type { OptimizerPlan } from '../../plan/plan.js';

export interface UpdateInput {
  readonly value: tf.Tensor;
  /** Already averaged and clipped. */
  readonly gradient: tf.Tensor;
  /** In the order of docs/kernels.md. */
  readonly moments: readonly tf.Tensor[];
  readonly learningRate: number;
  /** Updates made, this one included: 1, 2, ... */
  readonly updates: number;
  readonly decays: boolean;
}

/** [new value, ...new moments]. Formulas: docs/kernels.md, section Optimizers. */
export function updateParameter(optimizer: OptimizerPlan, input: UpdateInput): tf.Tensor[] {
  const { value, gradient: g, learningRate: lr } = input;
  switch (optimizer.kind) {
    case 'sgd':
      return [tf.add(tf.mul(-lr, g), value)];
    case 'momentum': {
      const a = tf.add(tf.mul(optimizer.momentum, moment(input, 0)), g);
      const direction = optimizer.nesterov ? tf.add(g, tf.mul(a, optimizer.momentum)) : a;
      return [tf.add(tf.mul(-lr, direction), value), a];
    }
    case 'rmsprop': {
      const { decay, momentum, epsilon, centered } = optimizer;
      const s = tf.add(tf.mul(moment(input, 0), decay), tf.mul(tf.square(g), 1 - decay));
      const mg = centered ? tf.add(tf.mul(moment(input, 2), decay), tf.mul(g, 1 - decay)) : undefined;
      const variance = mg === undefined ? s : tf.sub(s, tf.square(mg));
      const step = tf.div(tf.mul(g, lr), tf.sqrt(tf.add(variance, epsilon)));
      const mom = tf.add(tf.mul(moment(input, 1), momentum), step);
      return [tf.sub(value, mom), s, mom, ...(mg === undefined ? [] : [mg])];
    }
    case 'adam': {
      const { beta1, beta2, epsilon, weightDecay } = optimizer;
      const m = tf.add(tf.mul(moment(input, 0), beta1), tf.mul(g, 1 - beta1));
      const v = tf.add(tf.mul(moment(input, 1), beta2), tf.mul(tf.square(g), 1 - beta2));
      const mHat = tf.div(m, 1 - beta1 ** input.updates);
      const vHat = tf.div(v, 1 - beta2 ** input.updates);
      const decayed = weightDecay > 0 && input.decays ? tf.sub(value, tf.mul(value, lr * weightDecay)) : value;
      return [tf.add(tf.mul(tf.div(mHat, tf.add(tf.sqrt(vHat), epsilon)), -lr), decayed), m, v];
    }
  }
}

function moment({ moments }: UpdateInput, index: number): tf.Tensor {
  const tensor = moments[index];
  if (tensor === undefined) throw new MerakError('plan/invalid', `a parameter has no optimizer moment ${index}`);
  return tensor;
}
