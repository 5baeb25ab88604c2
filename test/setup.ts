/** Property tests draw the same cases on every run of CI; MERAK_SEED=<number> draws others, MERAK_SEED=random new ones. */
import fc from 'fast-check';

const { MERAK_SEED: seed = '1' } = process.env;
if (seed !== 'random') fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(seed) });
