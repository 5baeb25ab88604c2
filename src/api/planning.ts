/** From a user's model and the shape of its data to a plan. */
import { freemem } from 'node:os';
import * as tf from '@tensorflow/tfjs';
import type { Options } from '../config/schema.js';
import { MerakError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { optimizeGraph } from '../graph/passes/optimize.js';
import type { Executable, OptimizerPlan, Plan } from '../plan/plan.js';
import { buildExecutable } from '../planner/buildExecutable.js';
import { buildPlan } from '../planner/buildPlan.js';
import { buildTrainingExecutable } from '../planner/buildTraining.js';
import { chooseBatch, chooseDegrees } from '../planner/defaults.js';
import { explainPlan, type PlanReport, planReport } from '../planner/explain.js';
import { fieldsOfModel } from '../trace/fields.js';
import type { FieldSpec, Trace, TraceMode, UserModel } from '../trace/model.js';
import { traceModel } from '../trace/trace.js';
import type { Loaded } from './feed.js';
import type { DataShape } from './session.js';

export interface Planned {
  readonly model: UserModel;
  readonly plan: Plan;
  readonly batchSize: number;
  readonly fields: readonly FieldSpec[];
  /** In step with `plan.parameters`. */
  readonly variables: readonly tf.Variable[];
  readonly metricsNames: readonly string[];
  /** The plan for people. */
  explain(): string;
  /** The same as data. */
  data(): PlanReport;
}

/**
 * Chooses the layout, traces at the resulting micro-batch size and plans.
 *
 * @throws MerakError of the rooms below: config/*, trace/*, layout/*, plan/*
 */
export function planModel(model: UserModel, shape: DataShape, options: Options, optimizer: OptimizerPlan): Planned {
  const { workers, pp, dp, tp, microBatches } = options;
  const { mesh, reason } = chooseDegrees({ workers, pp, dp, tp, batchSize: shape.batchSize });
  const { numMicroBatches, microBatchSize } = chooseBatch({
    batchSize: shape.batchSize,
    mesh,
    numMicroBatches: microBatches,
  });
  const fields = model instanceof tf.LayersModel ? completeFields(model, shape.fields) : shape.fields;
  const trace = traceModel(model, 'train', fields, microBatchSize);
  const numRanks = mesh.pp * mesh.dp * mesh.tp;
  const plan = buildPlan({
    train: optimizeGraph(trace.graph),
    mesh,
    numMicroBatches,
    microBatchSize,
    schedule: options.schedule,
    recompute: options.recompute,
    optimizer,
    clipNorm: options.clipNorm,
    seed: options.seed,
    memoryLimitBytes: options.memoryLimit ?? Math.floor(freemem() / numRanks),
  });
  return {
    model,
    plan,
    batchSize: shape.batchSize,
    fields,
    variables: variablesOf(plan, trace),
    metricsNames: trace.graph.outputs.map(({ name }) => name),
    explain: () => explainPlan(plan, reason),
    data: () => planReport(plan),
  };
}

/** One more executable for a plan, in rank order. */
export function planVariant(
  planned: Planned,
  mode: TraceMode,
  split: Pick<Loaded, 'numMicroBatches' | 'microBatchSize'>,
  name: string,
): Executable[] {
  const graph = traceFor(planned, mode, split.microBatchSize);
  const { numMicroBatches } = split;
  if (mode === 'train') return buildTrainingExecutable(planned.plan, graph, { name, numMicroBatches });
  return buildExecutable(planned.plan, mode, graph, { name, numMicroBatches });
}

function traceFor({ model, fields }: Planned, mode: TraceMode, microBatchSize: number): Graph {
  if (
    mode === 'predict' &&
    !(model instanceof tf.LayersModel) &&
    (typeof model === 'function' || model.predict === undefined)
  ) {
    throw new MerakError('trace/model', 'this model has a loss only', {
      path: 'predict',
      hint: 'pass wrap an object with a `predict(batch)` beside `loss(batch)`',
    });
  }
  return optimizeGraph(traceModel(model, mode, fields, microBatchSize).graph);
}

/** The model's own fields, with shapes and dtypes as the data at hand has them. */
function completeFields(model: tf.LayersModel, given: readonly FieldSpec[]): FieldSpec[] {
  const byName = new Map(given.map((field) => [field.name, field]));
  return fieldsOfModel(model).map((field) => byName.get(field.name) ?? field);
}

function variablesOf(plan: Plan, trace: Trace): tf.Variable[] {
  const byName = new Map(trace.graph.parameters.map(({ name }, index) => [name, trace.variables[index]!]));
  return plan.parameters.map(({ name }) => byName.get(name)!);
}
