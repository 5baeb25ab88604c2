/** What crosses between neighbouring stages, laid out alike on both sides. */
import type { Derivative } from '../autodiff/derivative.js';
import { MerakError } from '../errors.js';
import { valueBytes } from '../graph/cost.js';
import type { Graph, ValueId } from '../graph/graph.js';
import { tensorType } from '../partitioner/producers.js';
import type { Stage } from '../partitioner/stage.js';
import { packSequentially } from './memory.js';

/** Values of one message and where each lies in it. Ids belong to the graph of the side that asks. */
export interface Message {
  readonly values: readonly ValueId[];
  readonly offsets: readonly number[];
  readonly bytes: number;
}

export function packMessage(graph: Graph, values: readonly ValueId[]): Message {
  const { offsets, totalBytes } = packSequentially(values.map((value) => valueBytes(tensorType(graph, value))));
  return { values, offsets, bytes: totalBytes };
}

/** Values a stage receives, in message order. */
export function receivedValues(stage: Stage): ValueId[] {
  return stage.graph.inputs.filter((input) => isReceived(input.name)).map((input) => input.value);
}

export function isReceived(name: string): boolean {
  return /^received\/\d+$/.test(name);
}

/** The gradient messages of a stage: what arrives for its sent values, what it returns for its received values. */
export interface GradientMessages {
  readonly arriving: Message;
  readonly returning: Message;
}

/**
 * A gradient travels when the later stage makes one and the earlier wants one; both sides then list the same ones.
 *
 * @throws MerakError 'plan/invalid' when a stage awaits a gradient that the next does not make: differentiate from the
 *   last stage to the first and say what arrives.
 */
export function gradientMessages(derivatives: readonly Derivative[]): GradientMessages[] {
  return derivatives.map((derivative, stage) => {
    const [before, after] = [derivatives[stage - 1], derivatives[stage + 1]];
    const arriving = derivative.outputGradients.filter((value): value is ValueId => value !== null);
    const made = derivative.outputGradients.filter(
      (value, k): value is ValueId => value !== null && (after?.receivedGradients[k] ?? null) !== null,
    );
    if (made.length !== arriving.length) {
      throw new MerakError('plan/invalid', `stage ${stage} awaits gradients that stage ${stage + 1} does not make`);
    }
    const returning = derivative.receivedGradients.filter(
      (value, k): value is ValueId => value !== null && (before?.outputGradients[k] ?? null) !== null,
    );
    return { arriving: packMessage(derivative.graph, made), returning: packMessage(derivative.graph, returning) };
  });
}
