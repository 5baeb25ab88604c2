/** The index of a checkpoint: logical parameters, free of any layout, and where training stood. */
import { z } from 'zod';

export const FORMAT_VERSION = 1;

/** Where training stood, so that a resumed run continues with the next batch and the next random numbers. */
export const progressSchema = z.strictObject({
  /** Steps taken: keys the random numbers. */
  step: z.number().int().min(0),
  /** The epoch and the batch in it to take next. */
  epoch: z.number().int().min(0),
  batch: z.number().int().min(0),
  /** Optimizer updates made (Adam's bias correction). */
  updates: z.number().int().min(0),
  seed: z.number().int().min(0),
  /** Of float16: what the loss is multiplied by, and for how many good steps in a row it has been. */
  lossScaling: z.strictObject({ scale: z.number().min(1), goodSteps: z.number().int().min(0) }).optional(),
});
export type Progress = z.output<typeof progressSchema>;

export const checkpointIndexSchema = z.strictObject({
  format: z.literal('merak-checkpoint'),
  version: z.literal(FORMAT_VERSION),
  parameters: z.array(
    z.strictObject({
      name: z.string(),
      shape: z.array(z.number().int().min(0)),
      dtype: z.enum(['float32', 'int32', 'bool']),
      trainable: z.boolean(),
    }),
  ),
  /** Tensors of the optimizer are named `<parameter>#<moment>`, moment counting from 0 in docs/kernels.md's order. */
  optimizer: z.strictObject({ kind: z.string(), numMoments: z.number().int().min(0) }),
  progress: progressSchema,
  /** File name -> SHA-256 of its bytes. */
  files: z.record(z.string(), z.string()),
});
export type CheckpointIndex = z.output<typeof checkpointIndexSchema>;

/** Written last: a folder without it is not a checkpoint. */
export const INDEX_FILE = 'merak.json';
export const WEIGHTS_FILE = 'weights.safetensors';
export const OPTIMIZER_FILE = 'optimizer.safetensors';

/** Plain JSON: what a run remembers beside its tensors (the outer iteration, a tolerance, ...). */
export type Json = string | number | boolean | null | readonly Json[] | JsonRecord;
export interface JsonRecord {
  readonly [name: string]: Json;
}

/** The index of named tensors without a model: the state of a solver, fitted statistics. */
export const stateIndexSchema = z.strictObject({
  format: z.literal('merak-state'),
  version: z.literal(FORMAT_VERSION),
  tensors: z.array(
    z.strictObject({
      name: z.string(),
      shape: z.array(z.number().int().min(0)),
      dtype: z.enum(['float32', 'int32', 'bool']),
    }),
  ),
  progress: z.record(z.string(), z.json()),
  files: z.record(z.string(), z.string()),
});
export type StateIndex = z.output<typeof stateIndexSchema>;

export const STATE_FILE = 'state.safetensors';
