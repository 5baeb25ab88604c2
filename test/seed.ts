/** Chooses the seed of all property tests and says it, so that any run can be repeated: MERAK_SEED=<number>, or `random`. */
export default function setup(): void {
  const { MERAK_SEED: asked = '1', MERAK_CASES: cases } = process.env;
  const seed = asked === 'random' ? Math.floor(Math.random() * 2 ** 31) : Number(asked);
  process.env.MERAK_SEED = String(seed);
  const many = cases === undefined ? '' : `, at least ${cases} cases of each`;
  process.stdout.write(`property tests draw from seed ${seed}${many} (MERAK_SEED=${seed} draws the same again)\n`);
}
