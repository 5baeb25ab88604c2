// What `npm run gpu` does, in order: what would be missed most comes first. Each section has a budget in seconds and gives back plain data
// for the report. Neighbours that are `beside` run at the same time: nothing in them is timed.
import { build, doctor, kernels, machine, nccl, parity, sanitizer } from './checks.mjs';
import {
  compile,
  curve,
  curveOnProcessor,
  limits,
  profile,
  profileDry,
  rooflines,
  rooflinesDry,
  speed,
  speedDry,
} from './measurements.mjs';

const checks = [kernels, parity, nccl, sanitizer, compile, curveOnProcessor];

export const sections = [
  machine,
  build,
  doctor,
  ...checks,
  limits,
  speed['124M'],
  curve,
  speed['1.5B'],
  rooflines['124M'],
  rooflines['1.5B'],
  profile['124M'],
  speed['355M'],
  speed['774M'],
  profile['1.5B'],
];

/** The same once each, on one tiny model. */
export const drySections = [machine, build, doctor, ...checks, limits, speedDry, curve, rooflinesDry, profileDry];

/** Sections in a row that run together. */
export function blocksOf(list) {
  const blocks = [];
  for (const section of list) {
    const last = blocks.at(-1);
    if (section.beside && last?.[0].beside) last.push(section);
    else blocks.push([section]);
  }
  return blocks;
}
