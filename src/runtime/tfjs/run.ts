/** Runs one program of an executable on tensors. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import { replayNode } from '../../graph/replay.js';
import { setRandomContext } from '../../kernels/randomContext.js';
import type { ProgramNode, ProgramValue, Slots, Space } from '../../plan/plan.js';
import { restoreBackend } from './backend.js';
import { type Exchanges, isCollective, runCollective } from './collectives.js';
import type { CompiledProgram } from './compile.js';
import { checkAborted, type StepContext } from './context.js';
import { bytesPerElement, numElements } from './hostData.js';
import { tensorBytes } from './storage.js';

/** Sees every node with its outputs, after it ran. */
export type Observer = (
  node: ProgramNode,
  inputs: readonly tf.Tensor[],
  outputs: readonly tf.Tensor[],
  index: number,
) => Promise<void>;

export interface ProgramRun {
  readonly micro: number;
  readonly slots: Slots;
  readonly observe?: Observer;
  /** Stands in for collectives: replays without peers. Writes outside scratch are then left out too. */
  readonly replay?: ReadonlyMap<number, tf.Tensor>;
}

/** The event loop gets a turn at least this often, for heartbeats. */
const YIELD_MILLISECONDS = 20;

/** Raises engine/kernel naming the node, comm/* from collectives. */
export async function runProgram(
  context: StepContext,
  { program, dropAfter }: CompiledProgram,
  run: ProgramRun,
): Promise<void> {
  const { storage, plan, executable, input, backend } = context;
  const scratch = new Map<number, tf.Tensor>();
  const exchanges: Exchanges = new Map();
  const microBatch = plan.coordinates.dp * executable.numMicroBatches + run.micro;
  let lastYield = performance.now();

  const typeAt = (id: number): ProgramValue => {
    const value = program.values[id];
    if (value === undefined) throw new MerakError('plan/invalid', `the ${program.kind} program has no value ${id}`);
    return value;
  };
  const store = (id: number, tensor: tf.Tensor): void => {
    const value = typeAt(id);
    const shaped = withShape(tensor, value.shape);
    if (value.space === 'scratch' || run.replay !== undefined) {
      scratch.set(id, shaped);
      storage.addScratch(tensorBytes(shaped));
    } else storage.set(value.space, slotIn(run.slots, value.space), value.offset, shaped);
  };
  const drop = (id: number): void => {
    const tensor = scratch.get(id);
    if (tensor === undefined) return;
    storage.addScratch(-tensorBytes(tensor));
    tensor.dispose();
    scratch.delete(id);
  };

  const collective = (node: ProgramNode, x: tf.Tensor, index: number): Promise<tf.Tensor> | tf.Tensor => {
    const replayed = run.replay?.get(index);
    if (replayed !== undefined) return tf.clone(replayed);
    return runCollective(context, node, x, typeAt(node.outputs[0] ?? -1).shape, exchanges);
  };

  try {
    for (const [index, node] of program.nodes.entries()) {
      checkAborted(context);
      const fetched = node.inputs.map((id) => scratch.get(id) ?? fetch(context, typeAt(id), run.slots));
      // Views exist only to give a stored tensor this value's shape.
      const views: tf.Tensor[] = [];
      const inputs = fetched.map((tensor, position) => {
        const view = withShapeOf(tensor, typeAt(node.inputs[position] ?? -1).shape);
        if (view !== tensor) views.push(view);
        return view;
      });
      const outputs =
        isCollective(node) && inputs[0] !== undefined
          ? [await collective(node, inputs[0], index)]
          : runNode(context, node, inputs, microBatch, input);
      await run.observe?.(node, inputs, outputs, index);
      restoreBackend(backend);
      if ((node.kernel === 'MerakAccumulate' || node.attrs.accumulate === true) && run.replay === undefined)
        accumulate(context, node, typeAt(node.outputs[0] ?? -1), outputs, run.slots);
      else
        outputs.forEach((tensor, position) => {
          const id = node.outputs[position];
          if (id === undefined) tensor.dispose();
          else store(id, tensor);
        });
      for (const view of views) view.dispose();
      if (run.replay === undefined) for (const id of dropAfter[index] ?? []) drop(id);
      if (performance.now() - lastYield > YIELD_MILLISECONDS) {
        await new Promise((resolve) => setImmediate(resolve));
        restoreBackend(backend);
        lastYield = performance.now();
      }
    }
  } finally {
    for (const id of [...scratch.keys()]) drop(id);
  }
}

function runNode(
  context: StepContext,
  node: ProgramNode,
  inputs: readonly tf.Tensor[],
  microBatch: number,
  { seed, step }: { readonly seed: number; readonly step: number },
): tf.Tensor[] {
  const [x] = inputs;
  if (
    x !== undefined &&
    (node.kernel === 'MerakAccumulate' || node.kernel === 'MerakAssign' || node.kernel === 'MerakFanOut')
  ) {
    return [tf.clone(x)];
  }
  restoreBackend(context.backend);
  const previous = setRandomContext({ seed, step, microBatch });
  try {
    return replayNode(node, inputs);
  } catch (error) {
    if (error instanceof MerakError) throw error;
    throw new MerakError(
      'engine/kernel',
      `${node.kernel} failed: ${error instanceof Error ? error.message : String(error)}`,
      {
        path: `rank ${context.plan.rank}, ${node.scope || '(no layer)'}`,
        cause: error,
      },
    );
  } finally {
    setRandomContext(previous);
  }
}

function accumulate(
  context: StepContext,
  node: ProgramNode,
  target: ProgramValue,
  outputs: readonly tf.Tensor[],
  slots: Slots,
): void {
  const [x] = outputs;
  if (x === undefined) return;
  const slot = slotIn(slots, target.space);
  const sum = context.storage.get(target.space, slot, target.offset);
  if (sum === undefined) {
    context.storage.set(target.space, slot, target.offset, withShape(x, target.shape));
    return;
  }
  const total = tf.tidy(() => tf.add(withShapeOf(sum, target.shape), withShapeOf(x, target.shape)));
  x.dispose();
  if (total.dtype !== 'float32')
    throw new MerakError('plan/invalid', 'MerakAccumulate adds float32 values only', { path: node.scope });
  context.storage.set(target.space, slot, target.offset, total);
}

function fetch({ storage, plan }: StepContext, value: ProgramValue, slots: Slots): tf.Tensor {
  const tensor = storage.get(value.space, slotIn(slots, value.space), value.offset);
  if (
    tensor !== undefined &&
    tensor.size * bytesPerElement(value.dtype) === numElements(value.shape) * bytesPerElement(value.dtype)
  )
    return tensor;
  throw new MerakError('plan/invalid', `a program reads ${value.space}+${value.offset} before anything is there`, {
    path: `rank ${plan.rank}`,
    expected: `${value.dtype} [${value.shape}]`,
    received: tensor === undefined ? 'nothing' : `[${tensor.shape}]`,
  });
}

/** The slot an instruction uses in `space`; spaces without slots have one. */
export function slotIn(slots: Slots, space: Space): number {
  switch (space) {
    case 'batch':
    case 'received':
    case 'sent':
    case 'saved':
    case 'receivedGradients':
    case 'sentGradients':
    case 'pending':
    case 'recomputed':
      return slots[space];
    default:
      return 0;
  }
}

function sameShape(tensor: tf.Tensor, shape: readonly number[]): boolean {
  return tensor.rank === shape.length && tensor.shape.every((size, dim) => size === shape[dim]);
}

function withShapeOf(tensor: tf.Tensor, shape: readonly number[]): tf.Tensor {
  return sameShape(tensor, shape) ? tensor : tf.reshape(tensor, [...shape]);
}

/** `tensor` in `shape`, disposing the original when it had another. */
function withShape(tensor: tf.Tensor, shape: readonly number[]): tf.Tensor {
  const shaped = withShapeOf(tensor, shape);
  if (shaped !== tensor) tensor.dispose();
  return shaped;
}
