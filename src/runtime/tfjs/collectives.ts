/** Collectives inside programs: read to the host, exchanged, made a tensor again. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import { mergeShards } from '../../kernels/shards.js';
import type { ProgramNode } from '../../plan/plan.js';
import { restoreBackend } from './backend.js';
import { groupOf, type StepContext } from './context.js';
import { arrayOf, makeTensor, readTensor, viewBytes } from './hostData.js';

/** Whether the node must be awaited. (MerakFanOut exchanges nothing, MerakShard is local.) */
export function isCollective(node: ProgramNode): boolean {
  return node.kernel === 'MerakAllReduce' || node.kernel === 'MerakAllGather';
}

export async function runCollective(context: StepContext, node: ProgramNode, x: tf.Tensor): Promise<tf.Tensor> {
  const group = groupOf(context.plan, axisOf(node));
  if (node.kernel === 'MerakAllReduce') {
    if (group === undefined) return tf.clone(x);
    const data = await readTensor(x);
    const op = node.attrs.op === 'max' ? 'max' : 'sum';
    const reduced = await context.communicator.allReduce(group, Float32Array.from(data), op);
    restoreBackend(context.backend);
    return makeTensor(reduced, x.shape, 'float32');
  }
  const data = group === undefined ? undefined : await readTensor(x);
  const parts =
    group === undefined || data === undefined
      ? undefined
      : await context.communicator.allGather(group, viewBytes(data));
  restoreBackend(context.backend);
  const [dim, numParts, size] = [numberOf(node, 'dim'), numberOf(node, 'parts'), numberOf(node, 'size')];
  return tf.tidy(() => {
    const dtype = x.dtype === 'int32' || x.dtype === 'bool' ? x.dtype : 'float32';
    const shards = parts?.map((part) => makeTensor(arrayOf(part, dtype), x.shape, dtype)) ?? [x];
    return mergeShards(shards, dim, numParts, size);
  });
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
