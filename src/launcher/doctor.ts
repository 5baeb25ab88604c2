/** `merak doctor`: what this machine has, what is missing and how to get it. */
import { writeFileSync } from 'node:fs';
import { asMerakError } from '../coordinator/wireError.js';
import { MerakError } from '../errors.js';
import { loadAddon } from '../runtime/native/addon.js';
import type { Finding } from './checks.js';
import * as checks from './checks.js';
import { gpuDevices, gpuLibraries } from './gpuChecks.js';

/** Prints the findings and returns the exit code: 1 when something needed is missing. */
export async function doctor(report?: string): Promise<number> {
  const addon = await addonFinding();
  const findings = [
    checks.nodeVersion(),
    addon,
    checks.tfjsVersion(),
    checks.processors(),
    checks.memory(),
    checks.sharedMemory(),
    checks.parentDeathSignal(),
    ...checks.buildTools(addon.status === 'ok'),
    ...gpuFindings(addon.status === 'ok'),
  ];
  process.stdout.write(`${render(findings)}\n`);
  if (report !== undefined) writeReport(report, findings);
  return findings.some(({ status }) => status === 'missing') ? 1 : 0;
}

/** One line per finding, and below it the command for what is not there. */
export function render(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const marks = { ok: 'ok     ', missing: 'MISSING', absent: '-      ' } as const;
  const lines = findings.flatMap(({ name, status, found, hint }) => {
    const line = `${marks[status]}  ${name.padEnd(width)}  ${found}`;
    return status === 'ok' || hint === undefined ? [line] : [line, `${' '.repeat(width + 11)}get it: ${hint}`];
  });
  const numMissing = findings.filter(({ status }) => status === 'missing').length;
  return [...lines, numMissing === 0 ? 'ready to train' : `${numMissing} thing(s) missing`].join('\n');
}

async function addonFinding(): Promise<Finding> {
  const name = 'native engine';
  try {
    const { dnnlVersion, isa, maxThreads } = loadAddon().info();
    return { name, status: 'ok', found: `oneDNN ${dnnlVersion}, ${isa}, at most ${maxThreads} thread(s)` };
  } catch (thrown) {
    const { summary, path, received, hint } = asMerakError(thrown);
    const found = [summary, path, received].filter((text) => text !== undefined).join('; ');
    return { name, status: 'missing', found, hint: hint ?? 'npm run build' };
  }
}

/** The addon looks for NVIDIA's libraries; without it nothing would use them. */
function gpuFindings(addonWorks: boolean): Finding[] {
  if (!addonWorks) return [];
  const addon = loadAddon();
  const libraries = addon.gpuLibraries();
  const devices = gpuDevices(() => addon.gpuDevices());
  return [
    ...devices,
    ...gpuLibraries(
      libraries,
      devices.some(({ status }) => status === 'ok'),
    ),
  ];
}

function writeReport(file: string, findings: readonly Finding[]): void {
  try {
    writeFileSync(file, `${JSON.stringify({ command: 'doctor', findings }, null, 2)}\n`);
  } catch (cause) {
    throw new MerakError('config/invalid', `the report cannot be written: ${cause}`, {
      path: `--report ${file}`,
      cause,
    });
  }
}
