/** Collectives inside programs: read to the host, exchanged, made a tensor again. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import { mergeShards, takeShard } from '../../kernels/shards.js';
import type { ProgramNode } from '../../plan/plan.js';
import { restoreBackend } from './backend.js';
import { groupOf, type StepContext } from './context.js';
import { arrayOf, makeTensor, readTensor, viewBytes } from './hostData.js';

const COLLECTIVES: ReadonlySet<string> = new Set(['MerakAllReduce', 'MerakAllGather', 'MerakReduceScatter']);
const STARTS: ReadonlySet<string> = new Set([...COLLECTIVES].map((kernel) => `${kernel}Start`));

/** Whether the node may wait for other ranks. (MerakFanOut exchanges nothing, MerakShard is local.) */
export function isCollective(node: ProgramNode): boolean {
  return COLLECTIVES.has(node.kernel) || STARTS.has(node.kernel) || node.kernel === 'MerakWait';
}

/** Gives a collective's result once it has come. */
export type Exchange = () => Promise<tf.Tensor>;

/** Collectives started and not yet awaited, by the value their start gave out. */
export type Exchanges = Map<number, Exchange>;

/** Runs a collective, its start, or its wait. What a start returns is of its result's shape, and nothing to read. */
export async function runCollective(
  context: StepContext,
  node: ProgramNode,
  x: tf.Tensor,
  resultShape: readonly number[],
  exchanges: Exchanges,
): Promise<tf.Tensor> {
  if (node.kernel === 'MerakWait') {
    const exchange = exchanges.get(node.inputs[0] ?? -1);
    if (exchange === undefined) {
      throw new MerakError('plan/invalid', 'MerakWait awaits what was never started', { path: node.scope });
    }
    exchanges.delete(node.inputs[0] ?? -1);
    return exchange();
  }
  const exchange = await begin(context, node, x);
  if (!STARTS.has(node.kernel)) return exchange();
  exchanges.set(node.outputs[0] ?? -1, exchange);
  restoreBackend(context.backend);
  return tf.zeros([...resultShape], x.dtype === 'int32' || x.dtype === 'bool' ? x.dtype : 'float32');
}

/** Reads `x` and sends it on its way; `x` may be disposed once the promise resolves. */
async function begin(context: StepContext, node: ProgramNode, x: tf.Tensor): Promise<Exchange> {
  const { backend, communicator } = context;
  const group = groupOf(context.plan, axisOf(node));
  const { shape } = x;
  const dtype = x.dtype === 'int32' || x.dtype === 'bool' ? x.dtype : 'float32';
  const data = (await readTensor(x)).slice();
  if (node.kernel.startsWith('MerakAllGather')) {
    const gathered =
      group === undefined ? Promise.resolve([viewBytes(data)]) : communicator.allGather(group, viewBytes(data));
    gathered.catch(() => {}); // whoever awaits the exchange hears of it
    const [dim, numParts, size] = [numberOf(node, 'dim'), numberOf(node, 'parts'), numberOf(node, 'size')];
    return async () => {
      const parts = await gathered;
      restoreBackend(backend);
      return tf.tidy(() => {
        const shards = parts.map((part) => makeTensor(arrayOf(part, dtype), shape, dtype));
        return mergeShards(shards, dim, numParts, size);
      });
    };
  }
  const terms = Float32Array.from(data);
  const op = node.attrs.op === 'max' ? 'max' : 'sum';
  const reduced = group === undefined ? Promise.resolve(terms) : communicator.allReduce(group, terms, op);
  reduced.catch(() => {});
  return async () => {
    const result = await reduced;
    restoreBackend(backend);
    const whole = makeTensor(result, shape, 'float32');
    return node.kernel.startsWith('MerakReduceScatter') ? ownShard(context, node, whole) : whole;
  };
}

/** As in the native engine the rank's own place counts: replicas share one program, and so its attributes. */
function ownShard({ plan }: StepContext, node: ProgramNode, whole: tf.Tensor): tf.Tensor {
  const [dim, parts, paddedSize] = [numberOf(node, 'dim'), numberOf(node, 'parts'), numberOf(node, 'paddedSize')];
  const index = plan.coordinates[axisOf(node)];
  const shard = tf.tidy(() => takeShard(whole, dim, parts, paddedSize, numberOf(node, 'degree'), index));
  whole.dispose();
  return shard;
}

function axisOf(node: ProgramNode): 'tp' | 'dp' {
  const { axis } = node.attrs;
  if (axis === 'tp' || axis === 'dp') return axis;
  throw new MerakError('plan/invalid', `${node.kernel} on an unknown axis`, {
    path: node.scope,
    expected: "'tp' or 'dp'",
    received: String(axis),
  });
}

function numberOf(node: ProgramNode, name: string): number {
  const value = node.attrs[name];
  if (typeof value === 'number') return value;
  throw new MerakError('plan/invalid', `${node.kernel} without the number '${name}'`, {
    path: node.scope,
    received: String(value),
  });
}
