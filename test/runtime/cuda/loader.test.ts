/** Which of NVIDIA's libraries the engine takes, which it passes over and what it says: on stand-ins of their C ABI. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { gpuDevices, gpuLibraries } from '../../../src/launcher/gpuChecks.js';
import { addonPath, type GpuDevice, type GpuLibrary } from '../../../src/runtime/native/addon.js';
import { ALL, type StandIns, standInEnvironment } from '../../standin/build.js';

interface Found {
  readonly libraries: readonly GpuLibrary[];
  readonly devices: readonly GpuDevice[] | { readonly code: string; readonly message: string };
}

const SCRIPT = `
const addon = require(process.argv[1]);
let devices;
try { devices = addon.gpuDevices(); } catch ({ code, message }) { devices = { code, message }; }
console.log(JSON.stringify({ libraries: addon.gpuLibraries(), devices }));`;

/** What a fresh process finds: libraries are looked for once per process. */
function found(env: NodeJS.ProcessEnv): Found {
  return JSON.parse(execFileSync(process.execPath, ['-e', SCRIPT, addonPath()], { env, encoding: 'utf8' }));
}

const among = (standIns: StandIns, more: NodeJS.ProcessEnv = {}): Found =>
  found({ ...standInEnvironment(standIns), ...more });

const named = ({ libraries }: Found, name: GpuLibrary['name']): GpuLibrary =>
  libraries.find((library) => library.name === name)!;

const empty = mkdtempSync(join(tmpdir(), 'merak-no-cuda-'));
afterAll(() => rmSync(empty, { recursive: true }));

describe('the loader', () => {
  test('takes all of a folder that has what it needs', () => {
    const all = among(ALL);
    expect(all.libraries.map(({ name, version }) => [name, version])).toEqual([
      ['driver', '13.0'],
      ['NVRTC', '13.0'],
      ['cuBLASLt', '13.0.1'],
      ['NCCL', '2.29.7'],
      ['cuDNN', '9.10.2'],
    ]);
    expect(named(all, 'NCCL')).toMatchObject({ rejected: [], lacks: [] });
    expect(all.devices).toEqual([{ name: 'Stand-in GPU', capability: '9.0', totalBytes: 2 ** 32 }]);
  });

  test('says that there is no driver, and looks nowhere but in the folder it was told', () => {
    const nothing = found({ ...process.env, MERAK_CUDA_LIBRARIES: empty });
    expect(nothing.libraries.every(({ path, rejected }) => path === '' && rejected.length === 0)).toBe(true);
    expect(nothing.devices).toMatchObject({ code: 'engine/no-gpu', message: expect.stringContaining('libcuda.so.1') });
  });

  test('tells a driver without devices from a missing one', () => {
    const { devices } = among(ALL, { MERAK_STANDIN_DEVICES: '0' });
    expect(devices).toMatchObject({ code: 'engine/no-gpu', message: expect.stringContaining('sees no GPU') });
  });

  test('checks versions before anything else: old libraries need not even have the functions', () => {
    const versions = { MERAK_STANDIN_CUDA_VERSION: '11080', MERAK_STANDIN_NCCL_VERSION: '21604' };
    const { libraries, devices } = among({ cuda: 'version', nccl: 'version' }, versions);
    expect(libraries.find(({ name }) => name === 'driver')?.rejected[0]?.problem).toBe(
      'it is of CUDA 11.8, and Merak needs 12.0 or newer',
    );
    expect(libraries.find(({ name }) => name === 'NCCL')?.rejected[0]?.problem).toBe(
      'it is version 2.16.4, and Merak needs 2.17.0 or newer',
    );
    expect(devices).toMatchObject({ code: 'engine/no-gpu', message: expect.stringContaining('11.8') });
  });

  test('names the functions that a library lacks', () => {
    const { problem } = named(among({ ...ALL, nccl: 'version' }), 'NCCL').rejected[0]!;
    expect(problem).toMatch(/^it lacks ncclGetErrorString, .*ncclAllReduce/);
  });

  test('does without the functions that only newer versions have', () => {
    const nccl = named(among({ ...ALL, nccl: 'without newer' }, { MERAK_STANDIN_NCCL_VERSION: '21903' }), 'NCCL');
    expect(nccl).toMatchObject({ version: '2.19.3', rejected: [] });
    expect(nccl.lacks).toEqual(['ncclCommShrink', 'ncclCommRevoke', 'ncclCommWindowRegister']);
  });

  test.each([22802, 22803, 22807, 22808, 22809])('knows which versions of NCCL are bad: %i', (version) => {
    const nccl = named(among(ALL, { MERAK_STANDIN_NCCL_VERSION: `${version}` }), 'NCCL');
    const isBad = version >= 22803 && version <= 22808;
    expect(nccl.path === '').toBe(isBad);
    if (isBad) expect(nccl.rejected[0]?.problem).toContain('can deadlock');
  });

  test.each([22105, 22203])('knows which versions of NCCL no CUDA graph can hold: %i', (version) => {
    const { libraries } = among(ALL, { MERAK_STANDIN_NCCL_VERSION: `${version}` });
    const nccl = gpuLibraries(libraries, true).find(({ name }) => name === 'NCCL')!;
    expect(nccl.found?.includes('in CUDA graphs it stalls')).toBe(version < 22203);
  });

  test('passes over compilers and products of a newer major version than the driver', () => {
    const older = among(ALL, { MERAK_STANDIN_CUDA_VERSION: '12080' });
    expect(named(older, 'NVRTC').rejected[0]?.problem).toBe("it is of CUDA 13.0, newer than the driver's 12.8");
    expect(named(older, 'cuBLASLt').rejected[0]?.problem).toContain("newer than the driver's CUDA 12.8");
    expect(named(older, 'NCCL').path).not.toBe('');
  });

  test('reads both ways in which cuDNN counts its versions, and for which CUDA it was made', () => {
    const cudnn = (env: NodeJS.ProcessEnv) => named(among(ALL, env), 'cuDNN');
    expect(cudnn({ MERAK_STANDIN_CUDNN_VERSION: '8907' })).toMatchObject({ version: '8.9.7', rejected: [] });
    const { problem } = named(among({ ...ALL, cudnn: 'version' }, { MERAK_STANDIN_CUDNN_VERSION: '8100' }), 'cuDNN')
      .rejected[0]!;
    expect(problem).toBe('it is version 8.1.0, and Merak needs 8.2.0 or newer');
    expect(cudnn({ MERAK_STANDIN_CUDA_VERSION: '12080' }).rejected[0]?.problem).toBe(
      "it is for CUDA 13.0, newer than the driver's 12.8",
    );
    expect(cudnn({ MERAK_STANDIN_CUDA_VERSION: '12080', MERAK_STANDIN_CUDNN_CUDART_VERSION: '12090' }).path).not.toBe(
      '',
    );
  });

  test('takes the first folder that has one that will do', () => {
    const bad = standInEnvironment({ nccl: 'version' }).MERAK_CUDA_LIBRARIES;
    const good = standInEnvironment().MERAK_CUDA_LIBRARIES;
    const nccl = named(found({ ...process.env, MERAK_CUDA_LIBRARIES: `${bad}:${good}` }), 'NCCL');
    expect(nccl.path).toBe(`${good}/libnccl.so.2`);
    expect(nccl.rejected).toHaveLength(1);
  });
});

describe('merak doctor', () => {
  test('lists devices and libraries with versions and places', () => {
    const { libraries, devices } = among(ALL);
    expect(gpuDevices(() => devices as GpuDevice[])[0]?.found).toBe('Stand-in GPU, compute capability 9.0, 4.0 GiB');
    const nccl = gpuLibraries(libraries, true).find(({ name }) => name === 'NCCL');
    expect(nccl).toMatchObject({ status: 'ok', found: expect.stringMatching(/^2\.29\.7 \(.*libnccl\.so\.2\)$/) });
  });

  test('says what was passed over and why, and how to get one that will do', () => {
    const { libraries } = among(ALL, { MERAK_STANDIN_NCCL_VERSION: '22805' });
    const nccl = gpuLibraries(libraries, true).find(({ name }) => name === 'NCCL')!;
    expect(nccl.status).toBe('absent');
    expect(nccl.found).toMatch(/passed over .*: it is version 2\.28\.5, which can deadlock/);
    expect(nccl.hint).toContain('pip install nvidia-nccl-cu13');
  });

  test('does not tell who has no GPU to install libraries for one', () => {
    const { libraries } = found({ ...process.env, MERAK_CUDA_LIBRARIES: empty });
    expect(gpuLibraries(libraries, false).every(({ status, hint }) => status === 'absent' && hint === undefined)).toBe(
      true,
    );
  });
});
