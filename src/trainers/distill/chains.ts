/** Which chains of student stages are trained: the whole one, and those that show what a stage contributes. */
import { MerakError } from '../../errors.js';
import type { DistillConfig, Stage } from './config.js';

export interface Chain {
  /** Kinds joined by "+". */
  readonly name: string;
  readonly stages: readonly Stage[];
}

/** The whole chain first; with ablations also without each stage but the last, and the last alone. Prefixes are measured anyway. */
export function chainsOf(stages: readonly Stage[], ablations: boolean): Chain[] {
  const without = stages.slice(0, -1).map((_, dropped) => stages.filter((_, i) => i !== dropped));
  const all = [stages, ...(ablations ? [...without, stages.slice(-1)] : [])];
  const named = all.map((chain) => ({ name: chain.map(({ kind }) => kind).join('+'), stages: chain }));
  return named.filter(({ name }, i) => name !== '' && named.findIndex((other) => other.name === name) === i);
}

/** @throws MerakError config/invalid: the assistant is not first, or the student would keep more of its layers than it has */
export function checkChain({ stages, layersToKeep, assistantLayers }: DistillConfig): void {
  const [first, ...others] = stages.map(({ kind }) => kind);
  if (first !== 'assistant' || others.includes('assistant')) {
    throw new MerakError('config/invalid', 'the chain cannot be trained', {
      path: 'stages',
      expected: 'assistant first, and once',
      received: stages.map(({ kind }) => kind).join(', '),
    });
  }
  if (layersToKeep > assistantLayers) {
    throw new MerakError('config/invalid', 'the student keeps more layers than the assistant has', {
      path: 'layersToKeep',
      expected: `at most assistantLayers (${assistantLayers})`,
      received: String(layersToKeep),
    });
  }
}
