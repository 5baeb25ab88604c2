/** Running a tf.layers model as its own fit, evaluate and predict would, for the recorder to watch. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { compiledModel, isCompiled } from './compiled.js';
import { targetField } from './fields.js';
import type { TraceMode } from './model.js';
import type { Recorded, Recorder } from './record.js';

type Fields = Readonly<Record<string, tf.Tensor>>;

/** Declares every weight, in the order of `model.weights`, under its tf.layers name. */
export function declareWeights(model: tf.LayersModel, recorder: Recorder): void {
  const trainable = new Set(model.trainableWeights);
  for (const weight of model.weights) {
    const variable = weight.read();
    if (!(variable instanceof tf.Variable)) {
      throw new MerakError('trace/model', `the weight "${weight.name}" is not backed by a tf.Variable`);
    }
    recorder.variable(variable, weight.originalName, trainable.has(weight));
  }
}

/**
 * `train` and `evaluate`: `loss` and the compiled metrics, as tfjs computes them in fit and evaluate (regularisers count
 * in training only). `predict`: the outputs by name. Raises trace/model.
 */
export function runLayersModel(given: tf.LayersModel, mode: TraceMode, fields: Fields): Recorded {
  const model = compiledModel(given);
  checkModel(model, mode);
  const inputs = model.inputNames.map((name) => fieldNamed(fields, name));
  const called = model.call(inputs, { training: mode === 'train' });
  const outputs = Array.isArray(called) ? called : [called];
  if (mode === 'predict') {
    return { outputs: model.outputNames.map((name, index) => [name, outputs[index]!] as const) };
  }
  const targets = model.outputNames.map((name) => floatTarget(fieldNamed(fields, targetField(name))));
  return { outputs: [['loss', totalLoss(model, mode, targets, outputs)], ...metrics(model, targets, outputs)] };
}

/** tfjs's losses and metrics insist on float32, labels included. */
function floatTarget(target: tf.Tensor): tf.Tensor {
  return target.dtype === 'float32' ? target : target.toFloat();
}

function totalLoss(model: tf.LayersModel, mode: TraceMode, targets: tf.Tensor[], outputs: tf.Tensor[]): tf.Tensor {
  const losses = model.lossFunctions.map((loss, index) => loss(targets[index]!, outputs[index]!));
  // fit adds the per-sample losses before it takes the mean, evaluate after: as tfjs does it.
  const terms = mode === 'train' ? losses : losses.map((loss) => tf.mean(loss));
  const total = tf.mean(terms.reduce((sum, term) => tf.add(sum, term)));
  const penalties = mode === 'train' ? model.calculateLosses() : [];
  return penalties.reduce<tf.Tensor>((sum, penalty) => tf.add(sum, penalty), total);
}

function metrics(model: tf.LayersModel, targets: tf.Tensor[], outputs: tf.Tensor[]): [string, tf.Tensor][] {
  const names = distinctNames(model.metricsNames).slice(1);
  return model.metricsTensors.map(([metric, output], index) => [
    names[index] ?? `metric_${index}`,
    tf.mean(metric(targets[output]!, outputs[output]!)),
  ]);
}

/** Repeated names get _0, _1, ... as in tfjs's history. */
function distinctNames(names: readonly string[]): string[] {
  return names.map((name, index) => {
    if (names.filter((other) => other === name).length === 1) return name;
    return `${name}_${names.slice(0, index).filter((other) => other === name).length}`;
  });
}

function fieldNamed(fields: Fields, name: string): tf.Tensor {
  const field = fields[name];
  if (field !== undefined) return field;
  throw new MerakError('trace/model', `the batch lacks the field "${name}" of the model`, {
    path: name,
    received: Object.keys(fields).join(', '),
  });
}

function checkModel(model: tf.LayersModel, mode: TraceMode): void {
  const stateful = model.layers.find((layer) => layer.stateful);
  if (stateful !== undefined) {
    throw new MerakError('trace/model', `the layer "${stateful.name}" keeps state between batches`, {
      path: stateful.name,
      hint: 'stateful recurrent layers cannot be trained in parallel; set stateful: false',
    });
  }
  if (mode !== 'predict' && !isCompiled(model)) {
    throw new MerakError('trace/model', `the model "${model.name}" is not compiled`, {
      hint: 'call model.compile({ optimizer, loss }) before wrapping it',
    });
  }
}
