// The sections of `npm run gpu` that look and check: the machine, the build, kernels, layouts, NCCL, the sanitizer.
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

export const machine = {
  name: 'machine',
  budget: 20,
  async work({ run, python }) {
    const asked = (command, args) => run(command, args, { optional: true });
    const [nvidiaSmi, torch, kernel, compiler] = await Promise.all([
      asked('nvidia-smi', ['--query-gpu=name,driver_version,memory.total', '--format=csv,noheader']),
      asked(python, ['-c', 'import torch; print(torch.__version__, torch.version.cuda)']),
      asked('uname', ['-srm']),
      asked('nvcc', ['--version']),
    ]);
    const nvcc = compiler?.split('\n').find((line) => line.includes('release'));
    return { nvidiaSmi, torch, kernel, nvcc, node: process.version, cores: availableParallelism() };
  },
};

export const build = {
  name: 'build',
  budget: 150,
  needed: true,
  async work({ run, root, say }) {
    const addon = join(root, 'build/merak.node');
    const load = () => run(process.execPath, ['-e', `require(${JSON.stringify(addon)})`]);
    const problem = existsSync(addon)
      ? await load().then(
          () => undefined,
          (error) => error.message,
        )
      : 'there is none';
    if (problem === undefined) return { addon: 'as carried' };
    say(`the carried addon does not load here: building (${problem.split('\n').at(-1)})`);
    await run(process.execPath, ['scripts/build-native.mjs', '--clean']);
    await load();
    return { addon: 'built here', problem };
  },
};

export const doctor = {
  name: 'doctor',
  budget: 30,
  needed: true,
  async work({ run, root, save }) {
    const script = `const a = require(${JSON.stringify(join(root, 'build/merak.node'))});
      const found = { libraries: a.gpuLibraries() };
      try { found.devices = a.gpuDevices(); } catch ({ message }) { found.problem = message; }
      console.log(JSON.stringify(found));`;
    const found = JSON.parse(await run(process.execPath, ['-e', script]));
    save(found);
    if (found.problem !== undefined) throw new Error(found.problem);
    return found;
  },
};

export const kernels = {
  name: 'kernels',
  budget: 130,
  beside: true,
  work: ({ vitest, root }) => vitest(testsNamed(root, /^test\/cuda\/.*\.test\.ts$/)),
};

export const parity = {
  name: 'parity',
  budget: 150,
  beside: true,
  work: ({ vitest, root }) => vitest(testsNamed(root, /^test\/gpu\/.*\.test\.ts$/)),
};

export const nccl = {
  name: 'nccl',
  budget: 90,
  beside: true,
  async work({ run, root }) {
    const addon = JSON.stringify(join(root, 'build/merak.node'));
    const makeId = `console.log(Buffer.from(require(${addon}).ncclUniqueId()).toString('hex'))`;
    const ranks = async (what, count, env = { SAME_DEVICE: '0' }) => {
      const id = await run(process.execPath, ['-e', makeId]);
      const rank = (index) =>
        run(process.execPath, ['--import', 'tsx', 'test/nccl/rank.ts', what, `${index}`, `${count}`, id], {
          env,
        });
      return (await Promise.all([...Array(count).keys()].map(rank))).map((line) => JSON.parse(line));
    };
    const [oneRank] = await ranks('collectives', 1);
    // Alone, a rank gets back what it gave, whichever collective it is.
    if (new Set(Object.values(oneRank.result ?? {})).size !== 1)
      throw new Error(`collectives of one rank: ${JSON.stringify(oneRank)}`);
    const numGpus = Number(await run(process.execPath, ['-p', `require(${addon}).gpuDevices().length`]));
    // What a communicator takes of each card: where there are two, of the first two.
    const memory = numGpus < 2 ? await ranks('memory', 1) : await ranks('memory', 2, {});
    return { oneRank, memory, twoRanksOnOneGpu: await ranks('ring', 2) };
  },
};

export const sanitizer = {
  name: 'sanitizer',
  budget: 150,
  beside: true,
  async work({ run, root, dry, left }) {
    if (dry) return { skipped: 'compute-sanitizer needs a GPU' };
    const inToolkit = '/usr/local/cuda/bin/compute-sanitizer';
    const program = existsSync(inToolkit) ? inToolkit : 'compute-sanitizer';
    const check = async (file) => {
      const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--testTimeout', `${Math.round(left() * 1000)}`, file];
      const tool = ['--tool', 'memcheck', '--target-processes', 'all', '--error-exitcode', '9'];
      const args = ['-n', '10', program, ...tool, process.execPath, ...vitest];
      // The tests have compared the numbers; here it is the accesses that count.
      const output = await run('nice', args).catch((error) => error.message);
      const summary = [...output.matchAll(/ERROR SUMMARY: (\d+) error/g)].map(([, count]) => Number(count));
      const numErrors = summary.length === 0 ? undefined : summary.reduce((sum, count) => sum + count, 0);
      return { file, numErrors, output: output.split('\n').slice(-12).join('\n') };
    };
    const files = await Promise.all(testsNamed(root, /^test\/cuda\/.*\.test\.ts$/).map(check));
    if (files.every(({ output }) => /Device not supported/.test(output)))
      return { skipped: 'compute-sanitizer refuses this device', files };
    const unclean = files.filter(({ numErrors }) => numErrors !== 0);
    return {
      files,
      numFailed: unclean.length,
      failures: unclean.map(({ file, numErrors }) => `${file}: ${numErrors ?? 'did not end'} errors`),
    };
  },
};

function testsNamed(root, pattern) {
  return readdirSync(join(root, 'test'), { recursive: true })
    .map((name) => `test/${name}`)
    .filter((name) => pattern.test(name))
    .sort();
}
