/** `merak profile` on this machine: figures in plausible ranges, in a file that reads back. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { main } from '../../src/launcher/main.js';
import { parseProfile } from '../../src/planner/costs/profile.js';

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

it('measures and writes', async () => {
  const printed: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
  const file = join(mkdtempSync(join(tmpdir(), 'merak-test-')), 'deep', 'profile.json');
  expect(await main(['node', 'merak', 'profile', '--report', file])).toBe(0);
  const { device, links } = parseProfile(readFileSync(file, 'utf8'), file);
  expect(device.launchSeconds).toBeGreaterThan(1e-9);
  expect(device.launchSeconds).toBeLessThan(1e-3);
  expect(device.productFlops.at(-1)!.rate).toBeGreaterThan(1e9);
  expect(device.productFlops.at(-1)!.rate).toBeLessThan(1e14);
  for (const { bytesPerSecond } of [links!.messages, links!.allReduce]) expect(bytesPerSecond).toBeGreaterThan(1e7);
  expect(printed.join('')).toContain('shm all-reduce');
}, 120_000);

it('refuses a file it cannot write', async () => {
  const complaints: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => complaints.push(String(text)) > 0);
  expect(await main(['node', 'merak', 'profile', '--threads', 'none'])).toBe(1);
  expect(complaints.join('')).toContain("flag '--threads'");
});
