/** The model object that holds what compile set: a Sequential keeps an inner functional model for it. */
import * as tf from '@tensorflow/tfjs';

/** Builds a Sequential that has not been built; its names and weights exist only then. */
export function compiledModel(model: tf.LayersModel): tf.LayersModel {
  if (!(model instanceof tf.Sequential)) return model;
  if (!(Reflect.get(model, 'model') instanceof tf.LayersModel)) model.build();
  const inner: unknown = Reflect.get(model, 'model');
  return inner instanceof tf.LayersModel ? inner : model;
}

/** Whether the model has losses to train with. */
export function isCompiled(model: tf.LayersModel): boolean {
  return compiledModel(model).lossFunctions !== undefined;
}
