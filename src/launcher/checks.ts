/** What `merak doctor` looks at: each check says what it found, and how to get it when it is missing. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync, statfsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus, freemem, release, totalmem } from 'node:os';

export interface Finding {
  readonly name: string;
  /** `absent`: missing, and fine without. */
  readonly status: 'ok' | 'missing' | 'absent';
  readonly found: string;
  /** The command that gets it. */
  readonly hint?: string;
}

const MIN_NODE_MAJOR = 20;
const require = createRequire(import.meta.url);
const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

export function nodeVersion(version = process.versions.node): Finding {
  const ok = Number(version.split('.')[0]) >= MIN_NODE_MAJOR;
  return {
    name: 'node',
    status: ok ? 'ok' : 'missing',
    found: version,
    hint: `Node ${MIN_NODE_MAJOR} or newer: https://nodejs.org`,
  };
}

export function processors(): Finding {
  const model = cpus()[0]?.model ?? 'unknown model';
  return { name: 'cores', status: 'ok', found: `${availableParallelism()} (${model})` };
}

export function memory(): Finding {
  return { name: 'memory', status: 'ok', found: `${gibibytes(freemem())} free of ${gibibytes(totalmem())}` };
}

/** Ranks exchange through memfd arenas, which need Linux 3.17 and a readable /proc. */
export function sharedMemory(): Finding {
  const name = 'shared memory';
  const hint = 'run on Linux 3.17 or newer with /proc mounted; other systems use the tfjs device';
  if (process.platform !== 'linux') return { name, status: 'missing', found: process.platform, hint };
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const modern = major > 3 || (major === 3 && minor >= 17);
  const proc = isReadable(`/proc/${process.pid}/fd`);
  const shm = spaceOf('/dev/shm');
  const found = `kernel ${release()}, memfd ${modern && proc ? 'yes' : 'no'}, /dev/shm ${shm ?? 'absent'}`;
  return { name, status: modern && proc ? 'ok' : 'missing', found, hint };
}

export function tfjsVersion(): Finding {
  const name = 'tfjs';
  const hint = 'npm install @tensorflow/tfjs';
  try {
    const { version }: { version: string } = JSON.parse(
      readFileSync(require.resolve('@tensorflow/tfjs/package.json'), 'utf8'),
    );
    return { name, status: 'ok', found: version, hint };
  } catch {
    return { name, status: 'missing', found: 'not found', hint };
  }
}

/** Needed to build the addon, not to run it. */
export function buildTools(addonWorks: boolean): Finding[] {
  const tools = [
    { name: 'C++ compiler', commands: ['g++', 'clang++', 'c++'], hint: 'apt-get install g++' },
    { name: 'cmake', commands: ['cmake'], hint: 'apt-get install cmake' },
  ];
  return [
    ...tools.map(({ name, commands, hint }) => tool(name, commands, hint, addonWorks)),
    oneDnnHeaders(addonWorks),
  ];
}

/** Beyond the workers' own watchdog: the kernel then ends a worker whose coordinator died even while it is stopped. */
export function parentDeathSignal(): Finding {
  const name = 'setpriv';
  const works = spawnSync('setpriv', ['--pdeathsig', 'KILL', '--', 'true']).status === 0;
  if (works) return { name, status: 'ok', found: 'ends workers with their coordinator' };
  return {
    name,
    status: 'absent',
    found: 'not found (the workers watch by themselves)',
    hint: 'apt-get install util-linux',
  };
}

function tool(name: string, commands: readonly string[], hint: string, optional: boolean): Finding {
  for (const command of commands) {
    const { status, stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' });
    if (status === 0) return { name, status: 'ok', found: stdout.split('\n')[0]!.trim() };
  }
  return { name, status: optional ? 'absent' : 'missing', found: 'not found', hint };
}

function oneDnnHeaders(optional: boolean): Finding {
  const name = 'oneDNN headers';
  const folders = ['/usr/local/include/oneapi/dnnl', '/usr/include/oneapi/dnnl'];
  const file = folders.map((folder) => `${folder}/dnnl_version.h`).find(isReadable);
  if (file === undefined) {
    return { name, status: optional ? 'absent' : 'missing', found: 'not found', hint: 'apt-get install libdnnl-dev' };
  }
  const part = (which: string): string =>
    new RegExp(`DNNL_VERSION_${which}\\s+(\\d+)`).exec(readFileSync(file, 'utf8'))?.[1] ?? '?';
  return { name, status: 'ok', found: `${part('MAJOR')}.${part('MINOR')}.${part('PATCH')} (${file})` };
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

function spaceOf(path: string): string | undefined {
  try {
    const { bavail, bsize } = statfsSync(path);
    return `${gibibytes(bavail * bsize)} free`;
  } catch {
    return undefined;
  }
}
