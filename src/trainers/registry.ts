/** The recipes that ship with Merak, by name. */
import { MerakError } from '../errors.js';
import { languageModel } from './languageModel.js';
import type { Trainer } from './trainer.js';

export const TRAINERS: readonly Trainer[] = [languageModel];

/** @throws MerakError trainer/unknown */
export function trainerByName(name: string): Trainer {
  const trainer = TRAINERS.find((one) => one.name === name);
  if (trainer !== undefined) return trainer;
  throw new MerakError('trainer/unknown', `there is no trainer '${name}'`, {
    expected: TRAINERS.map((one) => one.name).join(', '),
    received: name,
  });
}
