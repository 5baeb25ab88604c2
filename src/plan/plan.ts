/** The Plan: one serialisable value that says everything a worker group needs in order to train. */
import type { Attrs, DType, Initializer } from '../graph/graph.js';
import type { Placement, Task } from '../pipeline/schedule.js';
import type { Layout } from '../tensorparallel/layout.js';

/** Degrees of each axis. `rank = (pp * mesh.dp + dp) * mesh.tp + tp` for coordinates (pp, dp, tp). */
export interface Mesh {
  readonly pp: number;
  readonly dp: number;
  readonly tp: number;
}

export interface Coordinates {
  readonly pp: number;
  readonly dp: number;
  readonly tp: number;
}

/**
 * Regions of a rank's arenas. The first five live as long as the plan (the persistent arena); the others belong to one
 * executable (its working arena). Slotted spaces hold one slot per micro-batch (of a model chunk) in flight.
 */
export const PERSISTENT_SPACES = ['parameters', 'gradients', 'optimizer'] as const;
export const WORKING_SPACES = [
  'constants',
  'metrics',
  'batch',
  'received',
  'sent',
  'saved',
  'receivedGradients',
  'sentGradients',
  'scratch',
  /** What B leaves for W, where weight gradients are split off. */
  'pending',
  /** What recomputation makes again for B (and W). */
  'recomputed',
] as const;
export type Space = (typeof PERSISTENT_SPACES)[number] | (typeof WORKING_SPACES)[number];

export interface SpacePlan {
  readonly space: Space;
  /** Byte offset of slot 0 in its arena, 64-byte aligned. */
  readonly base: number;
  /** Of each slot, one after the other, multiples of 64: as large as the largest of the chunks that hold it. */
  readonly slotBytes: readonly number[];
}

/** What programs compute on: graph dtypes, bfloat16 or float16 where autocast stores a value so, and int8 where quantisation does. */
export type ProgramDType = DType | 'bfloat16' | 'float16' | 'int8';

/** A tensor of a program and where it lies: `arena + space.base + the slots before its own + offset`. */
export interface ProgramValue {
  readonly shape: readonly number[];
  readonly dtype: ProgramDType;
  readonly space: Space;
  readonly offset: number;
}

/**
 * A kernel call on program values. Beside tfjs's and Merak's kernels (docs/kernels.md) a program uses
 * `MerakAccumulate` (output += input) and `MerakAssign` (output := input), whose outputs lie in `gradients`,
 * `metrics`, `parameters`, `sent` or `sentGradients`.
 */
export interface ProgramNode {
  readonly kernel: string;
  readonly inputs: readonly number[];
  readonly inputNames: readonly string[];
  readonly outputs: readonly number[];
  readonly attrs: Attrs;
  readonly scope: string;
}

export interface Program {
  /** With a `weights` program, `backward` makes the gradients to send and `weights` those of parameters that wait. */
  readonly kind: 'forward' | 'recompute' | 'backward' | 'weights';
  /** Of the rank's model chunks. Default 0. */
  readonly chunk?: number;
  readonly values: readonly ProgramValue[];
  readonly nodes: readonly ProgramNode[];
}

/** The slot of each slotted space that an instruction works on; -1 where it uses none. */
export interface Slots {
  readonly batch: number;
  readonly received: number;
  readonly sent: number;
  readonly saved: number;
  readonly receivedGradients: number;
  readonly sentGradients: number;
  readonly pending: number;
  readonly recomputed: number;
}

/** What a rank does in a step, in order. `chunk` (default 0): the model chunk whose program, fields or message it is. `send` never waits for the receiver, except that its slot's previous message must have been taken. */
export type Instruction =
  /** Copy what the chunk reads of micro-batch `micro` of the step's batch into a `batch` slot. */
  | { readonly kind: 'load'; readonly micro: number; readonly chunk?: number; readonly slot: number }
  | {
      readonly kind: 'forward' | 'recompute' | 'backward' | 'weights';
      readonly micro: number;
      readonly chunk?: number;
      readonly slots: Slots;
    }
  /** Activations go from `sent` of this rank to `received` of `peer`; gradients from `sentGradients` to `receivedGradients`. */
  | {
      readonly kind: 'send' | 'receive';
      readonly what: 'activation' | 'gradient';
      readonly micro: number;
      readonly chunk?: number;
      readonly slot: number;
      /** Of the message; a slot may be larger, as chunks' messages differ. */
      readonly bytes: number;
      readonly peer: number;
    }
  /**
   * The same between two chunks of one rank: an activation to the next chunk, a gradient to the one before. From `slot` of
   * the space it is sent from to slot `to` of the one it is received in.
   */
  | {
      readonly kind: 'handOver';
      readonly what: 'activation' | 'gradient';
      readonly micro: number;
      readonly chunk?: number;
      readonly slot: number;
      readonly bytes: number;
      readonly to: number;
    }
  /** Set the `gradients` (train) and `metrics` spaces to zero: always first. */
  | { readonly kind: 'zero' }
  /** All-reduce gradients (`RankPlan.gradientBuckets`), then metrics over the data axis. */
  | { readonly kind: 'reduce' }
  /** All-reduce (mean) the parameters in `RankPlan.stateBuckets`: non-gradient state such as batch-norm statistics. */
  | { readonly kind: 'reduceState' }
  /** Global-norm clipping, then the optimizer. */
  | { readonly kind: 'update' };

/** An ordered set of ranks that meet in collectives. `id` is unique in the plan; 'tp' kernels use the rank's group of axis tp. */
export interface Group {
  readonly id: number;
  readonly axis: 'tp' | 'dp' | 'world' | 'tie';
  readonly ranks: readonly number[];
}

/** A logical parameter, whatever the layout. */
export interface ParameterPlan {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly trainable: boolean;
  readonly layout: Layout;
  /** Stages that hold a copy, ascending. More than one: tied across stages. */
  readonly stages: readonly number[];
  /** Virtual stages that use it, ascending, where stages hold several chunks; absent: `stages`. */
  readonly virtualStages?: readonly number[];
  readonly initializer?: Initializer;
}

/** A parameter as one rank holds it. Offsets are bytes into slot 0 of the space; -1 where it has none. */
export interface RankParameter {
  /** Index into `Plan.parameters`. */
  readonly parameter: number;
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: ProgramDType;
  readonly trainable: boolean;
  readonly offset: number;
  readonly gradientOffset: number;
  /** Byte offset of each optimizer moment (Adam: m, v; momentum: accumulator; SGD: none). */
  readonly momentOffsets: readonly number[];
  /**
   * With a sharded optimizer (ZeRO-1): the elements this rank updates, flat, `end` excluded; its moments hold these alone (none
   * when empty). Absent: all of them.
   */
  readonly owned?: { readonly begin: number; readonly end: number };
  /** Whether this rank's copy counts in the global gradient norm (each logical element counts exactly once per dp replica). */
  readonly countsInNorm: boolean;
  /** Whether decoupled weight decay applies (rank >= 2 parameters). */
  readonly decays: boolean;
}

/** A contiguous run of `length` floats at byte `offset`, summed over `group` and multiplied by `scale`. Gradients are also divided by the executable's numMicroBatches. */
export interface Bucket {
  readonly group: number;
  readonly offset: number;
  readonly length: number;
  readonly scale: number;
  /**
   * With a sharded optimizer: floats of each data replica's piece; `length` is dp of them. `reduce` leaves replica r the sum of
   * piece r only, and after `update` the same pieces of the parameters, which lie at the same offsets in `parameters`, are
   * gathered over the data axis.
   */
  readonly pieceLength?: number;
}

export type OptimizerPlan =
  | { readonly kind: 'sgd' }
  | { readonly kind: 'momentum'; readonly momentum: number; readonly nesterov: boolean }
  | {
      readonly kind: 'rmsprop';
      readonly decay: number;
      readonly momentum: number;
      readonly epsilon: number;
      readonly centered: boolean;
    }
  /** Adam as tfjs computes it when weightDecay is 0 (its epsilon placement: docs/kernels.md), AdamW otherwise. */
  | {
      readonly kind: 'adam';
      readonly beta1: number;
      readonly beta2: number;
      readonly epsilon: number;
      readonly weightDecay: number;
    };

/** One batch field as a stage's chunk uses it, per micro-batch. */
export interface InputPlan {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Byte offset in a `batch` slot. */
  readonly offset: number;
  /** Default 0. A field that several chunks read is listed for each. */
  readonly chunk?: number;
}

/** A result the last virtual stage leaves per micro-batch in `sent` (predict). */
export interface OutputPlan {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly offset: number;
  /** Default 0. */
  readonly chunk?: number;
}

/** Something a worker can run: the training step, evaluation, or prediction at one batch shape. */
export interface Executable {
  readonly name: string;
  readonly numMicroBatches: number;
  readonly microBatchSize: number;
  readonly spaces: readonly SpacePlan[];
  /** Bytes of the working arena: the planned peak of this executable. */
  readonly arenaBytes: number;
  readonly programs: readonly Program[];
  readonly schedule: readonly Instruction[];
  /** Batch fields this rank's stage reads. */
  readonly inputs: readonly InputPlan[];
  /** Names of the f32 scalars in `metrics`, in order ('loss' first); empty except on the stage that ends the model. Summed over micro-batches; the engine divides. */
  readonly metrics: readonly string[];
  /** Per micro-batch results in `sent`, last stage of a predict executable only. */
  readonly outputs: readonly OutputPlan[];
  readonly constants: readonly { readonly offset: number; readonly data: Float32Array | Int32Array | Uint8Array }[];
  /** What its kernels take beside the arenas; absent where no device has said. Planning only: workers are not told. */
  readonly workspace?: Workspace;
}

/** Bytes of kernels beside the arenas: scratch, of which a rank has one for all its executables, and packed weights they keep. */
export interface Workspace {
  readonly scratchBytes: number;
  readonly keptBytes: number;
  /** On a card: weights kept in 16 bits, by their byte among the parameters. All executables of a rank read the same copy. */
  readonly roundedWeights: readonly { readonly offset: number; readonly bytes: number }[];
}

/** Asks the device what an executable's kernels will take there. */
export type WorkspaceOf = (executable: Executable, rank: Pick<RankPlan, 'persistentSpaces'>) => Workspace;

/** Dynamic loss scaling (Micikevicius et al. 2018, section 3.2), so that gradients kept in float16 do not vanish. */
export interface LossScalePlan {
  readonly initial: number;
  /** The scale is multiplied by it after `interval` steps in a row without an overflow. */
  readonly growth: number;
  readonly interval: number;
  /** The scale is multiplied by it after an overflow, which leaves everything else as it was on every rank. */
  readonly backoff: number;
}

export interface RankPlan {
  readonly rank: number;
  readonly coordinates: Coordinates;
  readonly mesh: Mesh;
  readonly groups: readonly Group[];
  readonly parameters: readonly RankParameter[];
  readonly persistentSpaces: readonly SpacePlan[];
  readonly persistentBytes: number;
  readonly gradientBuckets: readonly Bucket[];
  readonly stateBuckets: readonly Bucket[];
  readonly optimizer: OptimizerPlan;
  /** Global-norm clipping threshold; 0 is off. */
  readonly clipNorm: number;
  /** Of float16; absent where the loss is not scaled. */
  readonly lossScale?: LossScalePlan;
  /** What NCCL's communicators take of the card at the most; absent where there are none. Planning only: workers are not told. */
  readonly communicatorBytes?: number;
  readonly executables: readonly Executable[];
}

/** What `merak plan` prints of a stage. */
export interface StageSummary {
  readonly stage: number;
  readonly layers: readonly string[];
  readonly numParameters: number;
  readonly forwardFlops: number;
  readonly backwardFlops: number;
  readonly parameterBytes: number;
  readonly peakBytes: number;
  /** Per step and rank. */
  readonly sendBytes: number;
  readonly allReduceBytes: number;
  /** What is run again before backward: nothing, the whole forward pass, or the part that is cheapest per byte. */
  readonly recompute: 'none' | 'full' | 'partial';
}

export interface Plan {
  readonly mesh: Mesh;
  readonly scheduleName: string;
  readonly numMicroBatches: number;
  readonly microBatchSize: number;
  /** Sub-batches of a micro-batch that overlap each other's tensor-parallel exchanges. Default 1. */
  readonly numSubBatches?: number;
  /** Whether values between the products may be split along the sequence over the tensor axis. Default 'off'. */
  readonly sequenceParallel?: 'auto' | 'on' | 'off';
  /** Model chunks per stage, and how they lie on the stages. Default 1; 'loop'. */
  readonly numChunks?: number;
  readonly placement?: Placement;
  readonly seed: number;
  readonly parameters: readonly ParameterPlan[];
  /** The tasks per stage, as data, for drawing and checking. */
  readonly schedule: readonly (readonly Task[])[];
  readonly stages: readonly StageSummary[];
  readonly ranks: readonly RankPlan[];
}
