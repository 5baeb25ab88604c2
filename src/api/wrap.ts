/** `merak.wrap`: the one call between an ordinary tfjs model and parallel training. */
import * as tf from '@tensorflow/tfjs';
import { launchContext } from '../config/launch.js';
import { parseOptions } from '../config/parse.js';
import type { OptionsInput } from '../config/schema.js';
import { MerakError } from '../errors.js';
import type { UserModel } from '../trace/model.js';
import { ParallelModel } from './parallelModel.js';
import { Session } from './session.js';

export interface WrapOptions extends OptionsInput {
  /** For functional models; a tf.LayersModel brings the one it was compiled with. */
  readonly optimizer?: tf.Optimizer;
}

/**
 * Wraps a model for training. Which layout it runs in is decided when the first data arrives: by the flags of `merak
 * launch`, else these options, else Merak. Without any of them it trains in this process.
 *
 * @param model a compiled tf.LayersModel, a function from a batch to a scalar loss, or an object with `loss(batch)`
 * @throws MerakError config/unknown-key, config/invalid, trace/model
 * @example
 * model.compile({ optimizer: 'adam', loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
 * const parallel = await merak.wrap(model);
 * await parallel.fit(x, y, { epochs: 3 });
 */
export async function wrap(model: UserModel, options: WrapOptions = {}): Promise<ParallelModel> {
  const { optimizer: given, ...rest } = options;
  const flags = launchContext()?.flags ?? {};
  parseOptions(rest, 'wrap options');
  const parsed = parseOptions({ ...rest, ...flags }, 'command line and wrap options');
  return new ParallelModel(new Session(model, parsed, optimizerOf(model, given)));
}

function optimizerOf(model: UserModel, given: tf.Optimizer | undefined): tf.Optimizer {
  if (model instanceof tf.LayersModel) {
    if (model.optimizer === undefined || model.optimizer === null) {
      throw new MerakError('trace/model', 'the tf.layers model is not compiled', {
        path: model.name,
        hint: 'call model.compile({ optimizer, loss }) before merak.wrap',
      });
    }
    return model.optimizer;
  }
  if (typeof model !== 'function' && typeof (model as { loss?: unknown } | null)?.loss !== 'function') {
    throw new MerakError('trace/model', 'merak.wrap cannot tell how to train this', {
      path: 'wrap',
      expected: 'a compiled tf.LayersModel, a loss function, or an object with a loss method',
      received: typeof model,
    });
  }
  if (given === undefined) {
    throw new MerakError('config/invalid', 'a functional model needs an optimizer', {
      path: 'wrap options: optimizer',
      hint: 'e.g. merak.wrap(model, { optimizer: tf.train.adam(1e-3) })',
    });
  }
  return given;
}
