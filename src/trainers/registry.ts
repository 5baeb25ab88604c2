/** The recipes that ship with Merak, by name. */
import { closest } from 'fastest-levenshtein';
import { MerakError } from '../errors.js';
import { csl } from './csl/index.js';
import { distill } from './distill/index.js';
import { drlFsod } from './drlFsod/index.js';
import { ear } from './ear/index.js';
import { languageModel } from './languageModel/index.js';
import { mpts } from './mpts/index.js';
import { ot } from './ot/index.js';
import { samp } from './samp/index.js';
import { sigma } from './sigma/index.js';
import type { Trainer } from './trainer.js';
import { whiten } from './whiten/index.js';

export const TRAINERS: readonly Trainer[] = [languageModel, csl, distill, drlFsod, ear, mpts, ot, samp, sigma, whiten];

/** @throws MerakError trainer/unknown */
export function trainerByName(name: string, among: readonly Trainer[] = TRAINERS): Trainer {
  const trainer = among.find((one) => one.name === name);
  if (trainer !== undefined) return trainer;
  const names = among.map((one) => one.name);
  throw new MerakError('trainer/unknown', `there is no trainer '${name}'`, {
    expected: names.join(', '),
    received: name,
    hint: `did you mean '${closest(name, names)}'? \`merak trainers\` lists them; --plugin adds one of your own`,
  });
}
