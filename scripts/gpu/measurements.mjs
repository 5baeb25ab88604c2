// The sections of `npm run gpu` that measure: the card's limits, training speed beside PyTorch's, each kernel beside its roofline, the losses.
import { DATASHEET, DRY, flopsPerToken, parametersOf, SIZES } from './sizes.mjs';

export const limits = {
  name: 'limits',
  budget: 40,
  work: ({ torch, dry }) =>
    dry
      ? { skipped: 'a dry run measures nothing' }
      : torch({ what: 'limits', side: 8192, copyBytes: 4e9, seconds: 1.5 }),
};

/** Leaves torch.compile's code in its cache on disk, which takes it minutes for large models; the timed runs find it there. */
export const compile = {
  name: 'compile',
  budget: 150,
  beside: true,
  async work({ torch, dry, save }) {
    if (dry) return { skipped: 'torch.compile is for a GPU' };
    const compiled = [];
    for (const size of SIZES) {
      const job = { what: 'train', ...size, compile: true, seconds: 0 };
      await torch(job, { niceness: 10 }).then(
        ({ startSeconds }) => compiled.push({ name: size.name, startSeconds }),
        (error) => compiled.push({ name: size.name, failed: error.message.split('\n')[0] }),
      );
      save({ compiled });
    }
    return { compiled };
  },
};

const curveJob = ({ dry }) => ({
  ...(dry ? DRY : { ...SIZES[0], batchSize: 1 }),
  learningRate: 3e-4,
  learnable: true,
});

/** The processor's part of the losses, beside the checks: its time does not matter. */
export const curveOnProcessor = {
  name: 'curve, processor',
  budget: 150,
  beside: true,
  async work(ctx) {
    const { losses } = await ctx.merak(
      {
        ...curveJob(ctx),
        device: 'native',
        precision: 'f32',
        steps: ctx.dry ? 3 : 20,
        seconds: Math.max(5, ctx.left() - 30),
        ...(ctx.dry ? {} : { threads: 8 }),
      },
      { niceness: 10 },
    );
    return { losses };
  },
};

export const curve = {
  name: 'curve',
  budget: 60,
  async work(ctx) {
    const steps = ctx.dry ? 3 : 200;
    const card = await ctx.merak({ ...curveJob(ctx), device: ctx.device, precision: 'bf16', steps, seconds: 40 });
    const cpu = ctx.results['curve, processor']?.losses;
    if (cpu === undefined) return { card: card.losses };
    const differences = cpu.map((loss, step) => Math.abs(loss - card.losses[step]) / Math.abs(loss));
    return { card: card.losses, cpu, largestRelativeDifference: Math.max(...differences) };
  },
};

/** One size at a time, so that the first are whole if time runs out. Each engine in a process of its own, in turn. */
const speedOf = (size) => ({
  name: `speed ${size.name}`,
  budget: size.name === '1.5B' ? 190 : 150,
  async work(ctx) {
    const model = ctx.dry ? DRY : size;
    const flops = flopsPerToken(model);
    const gemm = ctx.results.limits?.gemmFlopsPerSecond;
    const row = { ...model, numParameters: parametersOf(model), runs: [] };
    const torch = (compiles) => ctx.torch({ what: 'train', ...model, compile: compiles, seconds: 4 });
    const merak = { device: ctx.device, precision: 'bf16', steps: 200, seconds: 5, learningRate: 1e-4 };
    const engines = {
      merak: () => ctx.merak({ ...model, ...merak, learnable: false, ...(ctx.dry ? { steps: 5 } : {}) }),
      torchCompile: () => torch(true),
      torch: () => torch(false),
    };
    for (let round = 0; round < model.rounds; round++) {
      for (const [engine, work] of Object.entries(engines)) {
        if ((ctx.dry && engine !== 'merak') || (round > 0 && engine === 'torch')) continue;
        if (ctx.left() < 15) row.runs.push({ engine, skipped: `${Math.round(ctx.left())} s were left` });
        else {
          try {
            const { losses, ...timed } = await work();
            const flopsPerSecond = timed.tokensPerSecond * flops;
            const shares = { mfu: flopsPerSecond / DATASHEET, ...(gemm ? { shareOfGemm: flopsPerSecond / gemm } : {}) };
            row.runs.push({ engine, ...timed, flopsPerSecond, ...shares });
          } catch (error) {
            row.runs.push({ engine, failed: error.message });
          }
        }
        ctx.save(row);
      }
    }
    return row;
  },
});
export const speed = Object.fromEntries(SIZES.map((size) => [size.name, speedOf(size)]));
export const speedDry = { ...speedOf(DRY), name: 'speed' };

/** Each kernel of a step alone, beside what its bytes and operations need at the rates measured. */
const rooflinesOf = (size) => ({
  name: `rooflines ${size.name}`,
  budget: 60,
  work(ctx) {
    const { gemmFlopsPerSecond: flopsPerSecond = DATASHEET, copyBytesPerSecond: bytesPerSecond = 3.3e12 } =
      ctx.results.limits ?? {};
    const model = ctx.dry ? DRY : size;
    const seconds = Math.max(5, ctx.left() - 20);
    const precision = ctx.dry ? 'f32' : 'bf16';
    const job = { ...model, batchSize: model.aloneSize, device: ctx.device, precision, seconds };
    return ctx.kernels({ ...job, bytesPerSecond, flopsPerSecond });
  },
});
export const rooflines = Object.fromEntries(
  SIZES.filter(({ aloneSize }) => aloneSize !== undefined).map((size) => [size.name, rooflinesOf(size)]),
);
export const rooflinesDry = { ...rooflinesOf(DRY), name: 'rooflines' };

/** Where a step's time goes in the step itself: its operations in order, each waited for. */
const profileOf = (size) => ({
  name: `profile ${size.name}`,
  budget: 90,
  async work(ctx) {
    const profile = ctx.folder('profile');
    const job = { ...size, device: ctx.device, precision: 'bf16', steps: 6, seconds: 10, learningRate: 1e-4 };
    const { operations } = await ctx.merak({ ...job, learnable: false, profile });
    return { operations };
  },
});
export const profile = Object.fromEntries(SIZES.slice(0, 2).map((size) => [size.name, profileOf(size)]));
export const profileDry = { ...profileOf(DRY), name: 'profile' };
