/** Finding out what made a loss or an activation non-finite. */
import { setTimeout } from 'node:timers/promises';
import type * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import type { ProgramNode } from '../../plan/plan.js';
import { isCollective } from './collectives.js';
import type { CompiledProgram } from './compile.js';
import { checkAborted, groupOf, type StepContext } from './context.js';
import { readTensor } from './hostData.js';
import { type Observer, type ProgramRun, runProgram } from './run.js';

export async function allFinite(tensor: tf.Tensor): Promise<boolean> {
  if (tensor.dtype !== 'float32') return true;
  return (await readTensor(tensor)).every((element) => Number.isFinite(element));
}

export function hasNaN(values: Float32Array): boolean {
  return values.some((element) => Number.isNaN(element));
}

/** Keeps what collectives of a forward pass returned, so that it can be run again without the peers. */
export interface CollectiveLog {
  readonly observe: Observer | undefined;
  readonly results: Map<number, tf.Tensor>;
  dispose(): void;
}

export function collectiveLog(context: StepContext): CollectiveLog {
  const results = new Map<number, tf.Tensor>();
  const needed = groupOf(context.plan, 'tp') !== undefined || groupOf(context.plan, 'dp') !== undefined;
  return {
    results,
    observe: needed
      ? async (node, _, [output], index) => {
          if (isCollective(node) && output !== undefined) results.set(index, output.clone());
        }
      : undefined,
    dispose() {
      for (const tensor of results.values()) tensor.dispose();
      results.clear();
    },
  };
}

/**
 * Runs the forward program of a micro-batch again, watching every output; the engine/nan-loss error to raise. Where a collective brought
 * what is not finite, the rank that it came from says more: this one raises comm/aborted if that one spoke in about the time of a search.
 */
export async function nonFiniteError(
  context: StepContext,
  program: CompiledProgram,
  run: ProgramRun,
  log: CollectiveLog,
  what: string,
): Promise<MerakError> {
  let culprit: { node: ProgramNode; fed: boolean } | undefined;
  const began = performance.now();
  await runProgram(context, program, {
    micro: run.micro,
    slots: run.slots,
    replay: log.results,
    observe: async (node, inputs, outputs) => {
      if (culprit !== undefined) return;
      const finite = await Promise.all(outputs.map(allFinite));
      if (!finite.includes(false)) return;
      const fed = (await Promise.all(inputs.map(allFinite))).includes(false);
      culprit = { node, fed };
    },
  });
  const { plan, input } = context;
  const place =
    culprit === undefined ? 'no op of this stage' : `${culprit.node.kernel} in ${culprit.node.scope || '(no layer)'}`;
  const isBrought = culprit !== undefined && !culprit.fed && isCollective(culprit.node);
  if (isBrought) await letPeersSpeak(context, performance.now() - began);
  const cause = isBrought
    ? ', with what another rank brought'
    : culprit?.fed
      ? ', whose inputs were not finite already'
      : '';
  const origin = `${place}${cause}`;
  return new MerakError(
    'engine/nan-loss',
    `${what} is not finite at step ${input.step} on rank ${plan.rank}; first: ${origin}`,
    {
      path: `step ${input.step}, rank ${plan.rank}, micro-batch ${run.micro}, ${origin}`,
      hint: 'lower the learning rate, clip gradients (clipNorm), or look for log(0), 0/0 and overflow in that op',
    },
  );
}

/** @throws MerakError comm/aborted as soon as the group has heard of a failure elsewhere. */
async function letPeersSpeak(context: StepContext, searchMilliseconds: number): Promise<void> {
  const deadline = performance.now() + 1000 + searchMilliseconds;
  while (performance.now() < deadline) {
    checkAborted(context);
    await setTimeout(20);
  }
}
