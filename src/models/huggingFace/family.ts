/** The families of models whose files are known, and what marks them. */
import type { Bert } from '../bert.js';
import type { Encoder } from '../encoder.js';
import type { Gpt } from '../gpt.js';
import { bertSlots, encoderSlots, gptSlots, type Slot } from './slots.js';

/** bert: BERT, MiniLM and their like; xlm-roberta: RoBERTa and XLM-R; gpt2. */
export type Family = 'bert' | 'xlm-roberta' | 'gpt2';

export type HuggingFaceModel = Bert | Encoder | Gpt;

/** Prefixes of the names in a file of the family: what is written first, then what else occurs. */
const PREFIXES: Readonly<Record<Family, readonly string[]>> = {
  bert: ['bert.', ''],
  'xlm-roberta': ['roberta.', ''],
  gpt2: ['', 'transformer.'],
};

/** An encoder with RoBERTa's positions has RoBERTa's names. */
export function familyOf(model: HuggingFaceModel): Family {
  if ('tiedEmbeddings' in model.config) return 'gpt2';
  return model.config.positionOffset > 0 ? 'xlm-roberta' : 'bert';
}

export function slotsOf(model: HuggingFaceModel): Slot[] {
  if (isGpt(model)) return gptSlots(model);
  return isEncoder(model) ? encoderSlots(model) : bertSlots(model, familyOf(model) === 'xlm-roberta');
}

/** What names are written with: a bare encoder's stand without prefix, as sentence-transformers have them. */
export function writtenPrefix(model: HuggingFaceModel): string {
  return isEncoder(model) ? '' : PREFIXES[familyOf(model)][0]!;
}

/** The prefix a file has, by the name of its token table; undefined when there is none. */
export function prefixIn(model: HuggingFaceModel, names: ReadonlySet<string>): string | undefined {
  const [first] = slotsOf(model)[0]!.names;
  return PREFIXES[familyOf(model)].find((prefix) => names.has(`${prefix}${first}`));
}

function isGpt(model: HuggingFaceModel): model is Gpt {
  return familyOf(model) === 'gpt2';
}

function isEncoder(model: HuggingFaceModel): model is Encoder {
  return 'encode' in model;
}
