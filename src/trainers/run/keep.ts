/** State that a run saves and loads: variables become one safetensors file, keepers write themselves. */
import { join } from 'node:path';
import { loadVariables, saveVariables } from '../../index.js';
import type { Keep, Keeper } from '../context.js';

const FILE = 'variables.safetensors';

/** Variables are known by their place in the list, so that the counters of tfjs's names do not matter. */
export function keeperOf(keep: Keep): Keeper {
  if (!Array.isArray(keep)) return keep as Keeper;
  const named = Object.fromEntries(keep.map((variable, place) => [String(place), variable]));
  return {
    save: (folder) => saveVariables(join(folder, FILE), named),
    load: (folder) => loadVariables(join(folder, FILE), named),
  };
}
