/** Merak's gradients on tfjs's own tape: what a traced function gets from tf.grad, tf.variableGrads or optimizer.minimize. */
import * as tf from '@tensorflow/tfjs';
import type { Attrs } from '../graph/graph.js';
import { registerGradients } from '../kernels/register.js';
import { overriddenGradientRule } from './gradients/registry.js';

/** A private method of tfjs's engine: notes a call on the tape. `gradient` is null but for custom gradients. */
type AddTapeNode = (
  kernel: string,
  inputs: tf.NamedTensorMap,
  outputs: tf.Tensor[],
  gradient: unknown,
  saved: tf.Tensor[],
  attrs: tf.NamedAttrMap | undefined,
) => void;

/** Another: what tfjs's own gradient of a kernel needs kept. It fails on optional inputs that are absent. */
type TensorsForGradient = (kernel: string, inputs: tf.NamedTensorMap, outputs: tf.Tensor[]) => tf.Tensor[];

/**
 * While applied, kernels whose gradient tfjs lacks or has wrong are differentiated by our rules (docs/bugs.md). Rules call
 * Merak's kernels, so the current backend must know them: the proxy backend does. Returns what takes it off.
 */
export function patchTapeGradients(): () => void {
  registerGradients();
  const engine = tf.engine();
  const add = Reflect.get(engine, 'addTapeNode') as AddTapeNode;
  const replacement: AddTapeNode = (kernel, inputs, outputs, gradient, saved, attrs) => {
    add.call(engine, kernel, inputs, outputs, gradient, saved, attrs);
    // A custom gradient is named after its scope, which could be called like a kernel.
    if (gradient === null || gradient === undefined) useOurRule(kernel, inputs, outputs, attrs);
  };
  const keepFor = Reflect.get(engine, 'getTensorsForGradient') as TensorsForGradient;
  const keepLess: TensorsForGradient = (kernel, inputs, outputs) =>
    overriddenGradientRule(kernel) === undefined ? keepFor.call(engine, kernel, inputs, outputs) : [];
  Object.defineProperty(engine, 'addTapeNode', { value: replacement, configurable: true, writable: true });
  Object.defineProperty(engine, 'getTensorsForGradient', { value: keepLess, configurable: true, writable: true });
  return () => {
    Reflect.deleteProperty(engine, 'addTapeNode');
    Reflect.deleteProperty(engine, 'getTensorsForGradient');
  };
}

function useOurRule(
  kernel: string,
  inputs: tf.NamedTensorMap,
  outputs: readonly tf.Tensor[],
  attrs: tf.NamedAttrMap | undefined,
): void {
  const rule = overriddenGradientRule(kernel);
  const node = tf.engine().state.activeTape?.at(-1);
  if (rule === undefined || node === undefined) return;
  // Intermediates may be disposed before the tape is played back; tfjs disposes what is saved with the tape.
  const saved: tf.Tensor[] = [...(node.saved ?? [])];
  node.saved = saved;
  const keep = (tensor: tf.Tensor) => {
    const kept = tf.keep(tensor.clone());
    saved.push(kept);
    return kept;
  };
  const present = Object.entries(inputs).filter(([, tensor]) => tensor !== undefined && tensor !== null);
  const call = {
    inputs: Object.fromEntries(present.map(([name, tensor]) => [name, keep(tensor)])),
    outputs: outputs.map(keep),
    attrs: (attrs ?? {}) as Attrs,
  };
  node.gradient = (dys: readonly (tf.Tensor | undefined)[]) => {
    const all = call.outputs.map(({ shape }, index) => dys[index] ?? tf.zeros(shape, 'float32'));
    const gradients = rule(all, call);
    // tfjs asks for every input on the way from x to y, integer indices included.
    return Object.fromEntries(
      present.map(([name, { shape }]) => [name, gradients[name] ?? (() => tf.zeros(shape, 'float32'))]),
    );
  };
}
