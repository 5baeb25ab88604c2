// What `npm run gpu` does, section by section: each has a budget in seconds and gives back plain data for the report.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** GPT-2's sizes at context 1024; the vocabulary is GPT-2's 50257 rounded up to 50304, for PyTorch and Merak alike. */
export const SIZES = [
  { name: '124M', numLayers: 12, numHeads: 12, hiddenSize: 768, batchSize: 32 },
  { name: '1.5B', numLayers: 48, numHeads: 25, hiddenSize: 1600, batchSize: 4 },
  { name: '355M', numLayers: 24, numHeads: 16, hiddenSize: 1024, batchSize: 16 },
  { name: '774M', numLayers: 36, numHeads: 20, hiddenSize: 1280, batchSize: 8 },
].map((size) => ({ vocabularySize: 50304, contextLength: 1024, ...size }));
const DRY = {
  name: 'dry',
  numLayers: 2,
  numHeads: 2,
  hiddenSize: 32,
  batchSize: 2,
  vocabularySize: 300,
  contextLength: 32,
};

/** Dense bf16 of an H100 or H200 SXM by NVIDIA's datasheet, FLOP/s; what the marks are shares of. */
const DATASHEET = 989e12;

/** Of training on one token: 6 N + 12 L H T, N all parameters, causal attention not halved. */
const flopsPerToken = (size, numParameters) =>
  6 * numParameters + 12 * size.numLayers * size.hiddenSize * size.contextLength;

/** `ctx`: { root, out, dry, device, run(command, args, options), python, left() seconds, say(text), results of sections before }. */
export const sections = [
  {
    name: 'machine',
    budget: 20,
    async work({ run, python }) {
      const smi = await run('nvidia-smi', ['--query-gpu=name,driver_version,memory.total', '--format=csv,noheader'], {
        optional: true,
      });
      const torch = await run(python, ['-c', 'import torch; print(torch.__version__, torch.version.cuda)'], {
        optional: true,
      });
      const kernel = await run('uname', ['-srm'], { optional: true });
      const compiler = await run('nvcc', ['--version'], { optional: true });
      return {
        nvidiaSmi: smi,
        torch,
        kernel,
        nvcc: compiler?.split('\n').find((line) => line.includes('release')),
        node: process.version,
      };
    },
  },
  {
    name: 'build',
    budget: 150,
    needed: true,
    async work({ run, root, say }) {
      const load = ['-e', `require(${JSON.stringify(join(root, 'build/merak.node'))})`];
      if (
        existsSync(join(root, 'build/merak.node')) &&
        (await run(process.execPath, load, { optional: true })) !== undefined
      ) {
        return { addon: 'as carried' };
      }
      say('the carried addon does not load here: building');
      await run(process.execPath, ['scripts/build-native.mjs', '--clean']);
      await run(process.execPath, load);
      return { addon: 'built here' };
    },
  },
  {
    name: 'doctor',
    budget: 30,
    needed: true,
    async work({ run, root }) {
      const script = `const a = require(${JSON.stringify(join(root, 'build/merak.node'))});
        console.log(JSON.stringify({ libraries: a.gpuLibraries(), devices: a.gpuDevices() }))`;
      return JSON.parse(await run(process.execPath, ['-e', script]));
    },
  },
  {
    name: 'limits',
    budget: 40,
    async work({ torch, dry }) {
      return dry
        ? { skipped: 'a dry run measures nothing' }
        : torch({ what: 'limits', side: 8192, copyBytes: 4e9, seconds: 1.5 });
    },
  },
  {
    name: 'kernels',
    budget: 100,
    work: ({ vitest, root }) => vitest(testsNamed(root, /^test\/cuda\/.*\.test\.ts$/)),
  },
  {
    name: 'parity',
    budget: 90,
    work: ({ vitest, root }) => vitest(testsNamed(root, /^test\/gpu\/.*\.test\.ts$/)),
  },
  {
    name: 'nccl',
    budget: 60,
    async work({ run, root }) {
      const addon = JSON.stringify(join(root, 'build/merak.node'));
      const id = await run(process.execPath, [
        '-e',
        `console.log(Buffer.from(require(${addon}).ncclUniqueId()).toString('hex'))`,
      ]);
      const rank = (what, index, count, more = {}) =>
        run(process.execPath, ['--import', 'tsx', 'test/nccl/rank.ts', what, `${index}`, `${count}`, more.id ?? id], {
          env: { SAME_DEVICE: '0' },
        }).then(JSON.parse);
      const one = await rank('collectives', 0, 1);
      const pairId = await run(process.execPath, [
        '-e',
        `console.log(Buffer.from(require(${addon}).ncclUniqueId()).toString('hex'))`,
      ]);
      const two = await Promise.all([0, 1].map((index) => rank('ring', index, 2, { id: pairId })));
      return { oneRank: one, twoRanksOnOneGpu: two };
    },
  },
  {
    name: 'sanitizer',
    budget: 90,
    async work({ run, root, dry, env }) {
      if (dry) return { skipped: 'compute-sanitizer needs a GPU' };
      const files = testsNamed(root, /^test\/cuda\/.*\.test\.ts$/);
      if (files.length === 0) return { skipped: 'no tests of CUDA kernels in this tree' };
      // One file: under the checker a kernel takes some fifty times as long.
      const vitest = [
        process.execPath,
        'node_modules/vitest/vitest.mjs',
        'run',
        '--pool',
        'forks',
        '--testTimeout',
        '80000',
        files[0],
      ];
      const args = ['--tool', 'memcheck', '--target-processes', 'all', '--error-exitcode', '9', ...vitest];
      return { output: lastLines(await run('compute-sanitizer', args, { env }), 12) };
    },
  },
  {
    name: 'rooflines',
    budget: 60,
    async work(ctx) {
      const { gemmFlopsPerSecond: flopsPerSecond = DATASHEET, copyBytesPerSecond: bytesPerSecond = 3.3e12 } =
        ctx.results.limits ?? {};
      const size = ctx.dry ? DRY : { ...SIZES[0], batchSize: 4 };
      const precision = ctx.dry ? 'f32' : 'bf16';
      const seconds = Math.max(5, Math.min(ctx.left(), 60) - 15);
      return ctx.kernels({ ...size, device: ctx.device, precision, seconds, bytesPerSecond, flopsPerSecond });
    },
  },
  {
    name: 'speed',
    budget: 330,
    async work(ctx) {
      const rows = [];
      for (const size of ctx.dry ? [DRY] : SIZES) {
        const row = { ...size, numParameters: parametersOf(size) };
        rows.push(row);
        const flops = flopsPerToken(size, row.numParameters);
        for (const [name, work, atLeast] of [
          [
            'merak',
            () =>
              ctx.merak({
                ...size,
                device: ctx.device,
                precision: 'bf16',
                steps: 60,
                seconds: 8,
                learningRate: 1e-4,
                learnable: false,
              }),
            30,
          ],
          ['torch', () => ctx.torch({ what: 'train', ...size, compile: false, seconds: 4 }), 25],
          ['torchCompile', () => ctx.torch({ what: 'train', ...size, compile: true, seconds: 4 }), 60],
        ]) {
          if (ctx.dry && name !== 'merak') continue;
          if (ctx.left() < atLeast) {
            row[name] = { skipped: `${Math.round(ctx.left())} s were left` };
            continue;
          }
          try {
            const { losses, ...timed } = await work();
            const flopsPerSecond = timed.tokensPerSecond * flops;
            row[name] = { ...timed, flopsPerSecond, mfu: flopsPerSecond / DATASHEET };
            const gemm = ctx.results.limits?.gemmFlopsPerSecond;
            if (gemm) row[name].shareOfGemm = flopsPerSecond / gemm;
          } catch (error) {
            row[name] = { failed: error.message };
          }
          ctx.save({ rows });
        }
      }
      return { rows };
    },
  },
  {
    name: 'curve',
    budget: 120,
    async work(ctx) {
      const size = ctx.dry ? DRY : { ...SIZES[0], batchSize: 1 };
      const job = { ...size, learningRate: 3e-4, learnable: true };
      const card = await ctx.merak({
        ...job,
        device: ctx.device,
        precision: 'bf16',
        steps: ctx.dry ? 3 : 200,
        seconds: 40,
      });
      ctx.save({ card: card.losses });
      const cpu = await ctx.merak({
        ...job,
        device: 'native',
        precision: 'f32',
        steps: ctx.dry ? 3 : 20,
        seconds: Math.max(5, ctx.left() - 15),
      });
      const differences = cpu.losses.map((loss, step) => Math.abs(loss - card.losses[step]) / Math.abs(loss));
      return { card: card.losses, cpu: cpu.losses, largestRelativeDifference: Math.max(...differences) };
    },
  },
];

/** Token and position tables, blocks (attention 4 H², feed-forward 8 H², biases and norms 13 H), the last norm; the head is tied. */
function parametersOf({ vocabularySize, contextLength, numLayers, hiddenSize: h }) {
  return (vocabularySize + contextLength) * h + numLayers * (12 * h * h + 13 * h) + 2 * h;
}

function testsNamed(root, pattern) {
  return readdirSync(join(root, 'test'), { recursive: true })
    .map((name) => `test/${name}`)
    .filter((name) => pattern.test(name))
    .sort();
}

function lastLines(text, count) {
  return text.trim().split('\n').slice(-count).join('\n');
}
