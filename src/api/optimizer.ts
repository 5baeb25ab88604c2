/** Reads a tfjs optimizer into an OptimizerPlan. */
import type * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import type { OptimizerPlan } from '../plan/plan.js';

/** Hyper-parameters, which tfjs keeps as protected properties of its optimizers under these names. */
interface Hyperparameters {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly momentum: number;
  readonly useNesterov: boolean;
  readonly decay: number;
  readonly centered: boolean;
}

/**
 * The optimizer's formula as data; its learning rate is read anew each step, so callbacks may change it.
 *
 * @throws MerakError config/invalid for an optimizer the engine has no fused update for
 */
export function optimizerPlan(optimizer: tf.Optimizer, weightDecay: number): OptimizerPlan {
  // By class name: `instanceof` of any tfjs optimizer class says yes to every optimizer.
  const name = optimizer.getClassName();
  const { beta1, beta2, epsilon, momentum, useNesterov, decay, centered } = hyperparameters(optimizer);
  if (name === 'Adam') return { kind: 'adam', beta1, beta2, epsilon, weightDecay };
  if (weightDecay !== 0) {
    throw new MerakError('config/invalid', 'weightDecay needs the Adam optimizer', {
      path: 'weightDecay',
      received: `${weightDecay} with ${name}`,
      hint: 'use tf.train.adam, or leave weightDecay out',
    });
  }
  if (name === 'SGD') return { kind: 'sgd' };
  if (name === 'Momentum') return { kind: 'momentum', momentum, nesterov: useNesterov };
  if (name === 'RMSProp') return { kind: 'rmsprop', decay, momentum, epsilon, centered };
  throw new MerakError('config/invalid', `no fused update for the optimizer ${name}`, {
    path: 'optimizer',
    expected: 'adam, sgd, momentum or rmsprop (tf.train.*)',
  });
}

export function learningRateOf(optimizer: tf.Optimizer): number {
  return hyperparameters(optimizer).learningRate;
}

function hyperparameters(optimizer: tf.Optimizer): Hyperparameters {
  return optimizer as tf.Optimizer & Hyperparameters;
}
