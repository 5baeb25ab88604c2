/** merak.lazy: building a model whose initial values are recorded instead of computed, so that it takes no memory. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import type { Initializer } from '../graph/graph.js';
import { initialize } from '../graph/initialize.js';
import { replayNode } from '../graph/replay.js';
import { setInitialValue } from '../nn/variable.js';
import { onBackend, onProxyBackend, PROXY_BACKEND } from './backend.js';
import { traceError } from './failure.js';
import { dataOf } from './initializers.js';
import { registerProxyKernels } from './kernels.js';
import { layerInitializerPatches } from './layerInitializers.js';
import { type KernelCall, type Mode, withMode } from './mode.js';
import { patched } from './patch.js';
import { type HostData, makeProxy, type ProxyFacts, proxies } from './proxy.js';
import { currentScope, patchLayerScopes } from './scopes.js';

export { initializerOf } from './initializers.js';

/** What has to be computed while building (orthogonal matrices, ...) may be this large: 64 MiB of float32. */
const MAX_COMPUTED_ELEMENTS = 2 ** 24;

/** Written data that is one number throughout is remembered as that number from this size on. */
const MIN_CONSTANT_ELEMENTS = 16;

/** Kernels that keep the elements and their order. */
const RENAMING = new Set(['Identity', 'Reshape', 'ExpandDims']);

/**
 * Runs `build` and returns what it returns. Variables made in it, by tf.layers, by merak.nn or by hand, hold no memory
 * where their initialiser can be recorded; each worker draws its own part later. Raises trace/model for an asynchronous
 * build and for an initial value too large to compute.
 *
 * @example
 * const model = merak.lazy(() => merak.models.gpt({ ... }));
 */
export function lazy<T>(build: () => T): T {
  registerProxyKernels();
  const current = tf.engine().backendName as string | undefined | null;
  const real = current == null || current === PROXY_BACKEND ? 'cpu' : current;
  const hooks = {
    record: recordedTensor,
    compute: (run: () => tf.Tensor, shape: readonly number[]) => {
      checkComputable(shape, 'this initialiser');
      return tf.tensor(
        onBackend(real, () => tf.tidy(() => run().dataSync())),
        [...shape],
        'float32',
      );
    },
  };
  const patches = [...layerInitializerPatches(hooks), patchLayerScopes, patchInitialValue];
  const built = onProxyBackend(() => withMode(lazyMode(real), () => patched(patches, build)));
  if (built instanceof Promise) {
    built.catch(() => {});
    throw new MerakError('trace/model', 'merak.lazy cannot wait for an asynchronous build', {
      hint: 'load what the model needs first, then build it inside lazy without awaiting',
    });
  }
  return built;
}

function patchInitialValue(): () => void {
  const previous = setInitialValue((initializer, _name, shape) => recordedTensor(initializer, shape));
  return () => {
    setInitialValue(previous);
  };
}

function recordedTensor(initializer: Initializer, shape: readonly number[]): tf.Tensor {
  const engine = tf.engine();
  const dataId = makeProxy({ shape: [...shape], dtype: 'float32', initializer });
  return engine.makeTensorFromTensorInfo({ dataId, shape: [...shape], dtype: 'float32' }, engine.backend);
}

function lazyMode(real: string): Mode {
  return {
    run(call) {
      const renamed = RENAMING.has(call.kernel) || isFloatCast(call) ? renamedInitializer(call) : undefined;
      const initializer = renamed ?? filledInitializer(call);
      if (initializer !== undefined) return call.outputs.map((output) => makeProxy({ ...output, initializer }));
      return compute(call, real);
    },
    write(data, shape, dtype) {
      const first = data[0];
      const constant = data.length >= MIN_CONSTANT_ELEMENTS && data.every((element) => element === first);
      const facts = { shape: [...shape], dtype };
      return constant && first !== undefined
        ? makeProxy({ ...facts, initializer: { kind: 'constant', value: first } })
        : makeProxy({ ...facts, data });
    },
    scope: currentScope,
    failed: () => {},
  };
}

function isFloatCast({ kernel, inputs, attrs }: KernelCall): boolean {
  return kernel === 'Cast' && attrs.dtype === inputs[0]?.[1].dtype;
}

function renamedInitializer({ inputs }: KernelCall): Initializer | undefined {
  const tensor = inputs[0]?.[1];
  return tensor === undefined ? undefined : proxies.get(tensor.dataId)?.initializer;
}

function filledInitializer({ kernel, attrs, outputs }: KernelCall): Initializer | undefined {
  if (kernel === 'Fill' && typeof attrs.value === 'number') return { kind: 'constant', value: attrs.value };
  if (kernel === 'ZerosLike' && outputs[0]?.dtype === 'float32') return { kind: 'constant', value: 0 };
  if (kernel === 'OnesLike' && outputs[0]?.dtype === 'float32') return { kind: 'constant', value: 1 };
  return undefined;
}

/** Runs a kernel for real on the data of its inputs: biases put together from parts, scaled matrices, and so on. */
function compute({ kernel, inputs, attrs, outputs }: KernelCall, real: string): object[] {
  for (const { shape } of [...outputs, ...inputs.map(([, tensor]) => tensor)])
    checkComputable(shape, `kernel ${kernel}`);
  const results = onBackend(real, () =>
    tf.tidy(() => {
      const tensors = inputs.map(([, tensor]) => realTensor(tensor));
      const node = { kernel, inputNames: inputs.map(([name]) => name), attrs };
      return replayNode(node, tensors).map((tensor) => tensor.dataSync() as HostData);
    }),
  );
  return outputs.map(({ shape, dtype }, index) => makeProxy({ shape, dtype, data: results[index]! }));
}

function realTensor(tensor: tf.TensorInfo): tf.Tensor {
  const proxy = proxies.get(tensor.dataId);
  const data =
    proxy === undefined ? (tf.engine().readSync(tensor.dataId) as HostData) : (dataOf(proxy) ?? drawn(proxy));
  return tf.tensor(data, tensor.shape, tensor.dtype);
}

let numDrawn = 0;

/** A random initialiser that the build computes with: it becomes numbers now. */
function drawn({ initializer, shape }: ProxyFacts): HostData {
  if (initializer === undefined) throw traceError('trace/model', 'the build uses a tensor that belongs to a trace');
  return initialize(initializer, `merak.lazy/${numDrawn++}`, shape, 0);
}

function checkComputable(shape: readonly number[], what: string): void {
  const size = shape.reduce((product, dim) => product * dim, 1);
  if (size <= MAX_COMPUTED_ELEMENTS) return;
  throw traceError('trace/model', `${what} cannot be recorded, and its result is too large to compute while building`, {
    expected: `at most ${MAX_COMPUTED_ELEMENTS} elements`,
    received: `[${shape.join(', ')}]`,
    hint: 'initialise the weight with constants, uniform, normal, or a variance-scaling initialiser (glorot, he, leCun)',
  });
}
