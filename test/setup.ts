/** Property tests draw the same cases on every run of CI; test/seed.ts says from which seed. */
import fc from 'fast-check';

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env.MERAK_SEED ?? 1) });
