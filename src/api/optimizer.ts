/** Reads a tfjs optimizer into an OptimizerPlan. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import type { OptimizerPlan } from '../plan/plan.js';

/**
 * The optimizer's formula as data; its learning rate is read anew each step, so callbacks may change it.
 *
 * @throws MerakError config/invalid for an optimizer the engine has no fused update for
 */
export function optimizerPlan(optimizer: tf.Optimizer, weightDecay: number): OptimizerPlan {
  if (optimizer instanceof tf.AdamOptimizer) {
    const { beta1, beta2, epsilon } = read<{ beta1: number; beta2: number; epsilon: number }>(optimizer);
    return { kind: 'adam', beta1, beta2, epsilon, weightDecay };
  }
  if (weightDecay !== 0) {
    throw new MerakError('config/invalid', 'weightDecay needs the Adam optimizer', {
      path: 'weightDecay',
      received: `${weightDecay} with ${optimizer.getClassName()}`,
      hint: 'use tf.train.adam, or leave weightDecay out',
    });
  }
  // Momentum extends SGD in tfjs, so it is asked for first.
  if (optimizer instanceof tf.MomentumOptimizer) {
    const { momentum, useNesterov } = read<{ momentum: number; useNesterov: boolean }>(optimizer);
    return { kind: 'momentum', momentum, nesterov: useNesterov };
  }
  if (optimizer instanceof tf.SGDOptimizer) return { kind: 'sgd' };
  if (optimizer instanceof tf.RMSPropOptimizer) {
    const { decay, momentum, epsilon, centered } = read<{
      decay: number;
      momentum: number;
      epsilon: number;
      centered: boolean;
    }>(optimizer);
    return { kind: 'rmsprop', decay, momentum, epsilon, centered };
  }
  throw new MerakError('config/invalid', `no fused update for the optimizer ${optimizer.getClassName()}`, {
    path: 'optimizer',
    expected: 'adam, sgd, momentum or rmsprop (tf.train.*)',
  });
}

/** Moments the optimizer keeps per parameter, in docs/kernels.md's order. */
export function numMoments(plan: OptimizerPlan): number {
  if (plan.kind === 'adam') return 2;
  if (plan.kind === 'momentum') return 1;
  if (plan.kind === 'rmsprop') return plan.centered ? 3 : 2;
  return 0;
}

/** tfjs declares learningRate protected on every optimizer, though callbacks set it. */
export function learningRateOf(optimizer: tf.Optimizer): number {
  return read<{ learningRate: number }>(optimizer).learningRate;
}

// The hyper-parameters are constructor properties tfjs marks protected; its own getConfig() rounds none of them.
function read<T>(optimizer: tf.Optimizer): T {
  return optimizer as tf.Optimizer & T;
}
