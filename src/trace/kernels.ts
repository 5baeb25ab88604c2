/** tfjs registrations of the proxy backend: each kernel computes shapes by its rule and hands the call to the mode. */
import * as tf from '@tensorflow/tfjs';
import type { MerakError } from '../errors.js';
import { plainAttrs } from './attributes.js';
import { PROXY_BACKEND } from './backend.js';
import { dynamicShapeError, traceError } from './failure.js';
import { currentMode } from './mode.js';
import { makeProxy } from './proxy.js';
import { DYNAMIC_RULES } from './rules/dynamic.js';
import { type RuleInputs, type ShapeRule, toDType } from './rules/rule.js';
import { DYNAMIC_SHAPE_KERNELS, RULES, UNSUPPORTED_KERNELS } from './rules/table.js';

let registered = false;

/** Registers every rule, and a refusal for every kernel that is known not to work; once. */
export function registerProxyKernels(): void {
  if (registered) return;
  registered = true;
  for (const [kernel, rule] of RULES) {
    if (rule !== undefined) register(kernel, (call) => runRule(kernel, rule, call));
  }
  for (const kernel of DYNAMIC_SHAPE_KERNELS) {
    register(kernel, (call) => runDynamic(kernel, call));
  }
  for (const kernel of UNSUPPORTED_KERNELS) {
    register(kernel, () => {
      throw unknownKernel(kernel);
    });
  }
}

type Call = Parameters<tf.KernelFunc>[0];

function register(kernelName: string, kernelFunc: (call: Call) => tf.TensorInfo | tf.TensorInfo[]): void {
  // Another copy of Merak in this process may have registered it: ours must reach our modes.
  if (tf.getKernel(kernelName, PROXY_BACKEND) != null) tf.unregisterKernel(kernelName, PROXY_BACKEND);
  tf.registerKernel({ kernelName, backendName: PROXY_BACKEND, kernelFunc });
}

/** Merak has no shape rule for a kernel. */
export function unknownKernel(kernel: string): MerakError {
  return traceError('trace/unknown-kernel', `Merak does not know the kernel ${kernel}`, {
    hint: 'express the op with kernels of tfjs-core that work on float32, int32 or bool tensors',
  });
}

/** tfjs's result is an array where the kernel has several outputs. */
function runDynamic(kernel: string, call: Call): tf.TensorInfo | tf.TensorInfo[] {
  const { isStatic, bounded } = DYNAMIC_RULES[kernel] ?? {};
  if (bounded !== undefined && isStatic?.(plainAttrs(kernel, call.attrs))) return runRule(kernel, bounded, call);
  const mode = currentMode();
  if (mode?.dynamic === undefined || DYNAMIC_RULES[kernel] === undefined) throw dynamicShapeError(kernel);
  const outputs = mode.dynamic({ kernel, inputs: presentInputs(call), attrs: plainAttrs(kernel, call.attrs) });
  return outputs.length === 1 ? outputs[0]! : outputs;
}

/** Optional inputs (a bias, a mask) may be absent. */
function presentInputs(call: Call): (readonly [string, tf.TensorInfo])[] {
  return Object.entries(call.inputs).flatMap(([name, tensor]) => (tensor == null ? [] : [[name, tensor] as const]));
}

function runRule(kernel: string, rule: ShapeRule, call: Call): tf.TensorInfo | tf.TensorInfo[] {
  const inputs = presentInputs(call);
  const attrs = plainAttrs(kernel, call.attrs);
  const result = applyRule(kernel, rule, inputs, attrs);
  const outputs = 'shape' in result ? [result] : result;
  const mode = currentMode();
  const dataIds =
    mode === undefined ? outputs.map((output) => makeProxy(output)) : mode.run({ kernel, inputs, attrs, outputs });
  const tensors = outputs.map(({ shape, dtype }, index) => ({ dataId: dataIds[index]!, shape: [...shape], dtype }));
  return 'shape' in result ? tensors[0]! : tensors;
}

function applyRule(
  kernel: string,
  rule: ShapeRule,
  inputs: readonly (readonly [string, tf.TensorInfo])[],
  attrs: ReturnType<typeof plainAttrs>,
): ReturnType<ShapeRule> {
  const specs: RuleInputs = Object.fromEntries(
    inputs.map(([name, { shape, dtype }]) => [name, { shape, dtype: toDType(dtype) }]),
  );
  try {
    return rule(specs, attrs);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const shapes = Object.entries(specs).map(([name, { shape, dtype }]) => `${name} ${dtype}[${shape.join(', ')}]`);
    throw traceError('trace/model', `kernel ${kernel} cannot take these inputs: ${reason}`, {
      received: shapes.join(', '),
      cause,
    });
  }
}
