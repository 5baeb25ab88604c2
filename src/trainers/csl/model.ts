/** What both kinds of model are to the recipe. */
import type * as tf from '@tensorflow/tfjs';
import type { BatchSource, FunctionalModel } from '../../index.js';
import type { Example } from './data.js';

export interface CslModel {
  readonly model: FunctionalModel;
  readonly variables: readonly tf.Variable[];
  source(examples: readonly Example[]): BatchSource;
  /** A text for each example, of the variables as they are: generated, or the name of a label. */
  answers(examples: readonly Example[]): Promise<string[]>;
  dispose(): void;
}
