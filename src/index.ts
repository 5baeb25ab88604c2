/** The public API of Merak. */
import './api/draws.js';
import './api/hush.js';

export type { Callbacks, History, Logs } from './api/callbacks.js';
export type { DatasetInput } from './api/dataset.js';
export type { StepHook } from './api/fit.js';
export { type GreedyOptions, greedyDecode } from './api/greedyDecode.js';
export { InferenceModel, type LayerPlan } from './api/inference/model.js';
export {
  type CalibrationOptions,
  type LayerDescription,
  Quantiser,
  type QuantiserOptions,
  quantiser,
} from './api/inference/quantiser.js';
export type { SaveOptions } from './api/inference/saved.js';
export { type Answer, openSaved, SavedModel } from './api/inference/served.js';
export { openTokenizer } from './api/inference/tokenizer.js';
export type { TensorInput } from './api/inputs.js';
export { type JitFunction, type JitOptions, jit } from './api/jit.js';
export type { FitDatasetOptions, FitOptions, ParallelModel } from './api/parallelModel.js';
export type { SpmdFunction, SpmdFunctionOptions } from './api/spmd/function.js';
export { type Placement, type PlacementTree, replicate, shard } from './api/spmd/placement.js';
export type { SpmdState, StateOptions } from './api/spmd/state.js';
export { type SpmdGroup, type SpmdOptions, spmd } from './api/spmd.js';
export { type LoadedState, loadState, saveState } from './api/stateFiles.js';
export { loadVariables, type NamedVariables, saveVariables } from './api/variables.js';
export { type WrapOptions, wrap } from './api/wrap.js';
export type { Json, JsonRecord } from './checkpoint/format.js';
export type { Options, OptionsInput } from './config/schema.js';
export * as data from './data/index.js';
export type { BatchSource, HostBatch } from './data/source.js';
export { type ErrorCode, MerakError } from './errors.js';
export * as models from './models/index.js';
export * as nn from './nn/index.js';
export { type Candidate, LAYER_MODES, type LayerMode, type Requirement, recommend } from './quantisation/allocate.js';
export { CALIBRATORS, type Calibrator } from './quantisation/calibrators.js';
export { GRANULARITIES, type Granularity } from './quantisation/weights.js';
export { lazy } from './trace/lazy.js';
export type { Batch, CallOptions, FunctionalModel, LossFunction, LossResult, UserModel } from './trace/model.js';
export type {
  DataFolder,
  FitResult,
  IterateOptions,
  Keep,
  Keeper,
  OutputFolder,
  StepFigures,
  Table,
  TrainerContext,
  TrainerFitOptions,
} from './trainers/context.js';
export * as metrics from './trainers/metrics/index.js';
export * as charts from './trainers/output/charts.js';
export * as readers from './trainers/readers/index.js';
export * as text from './trainers/text/index.js';
export { type DataNeeds, defineTrainer, type Figures, type Paper, type Trainer } from './trainers/trainer.js';
