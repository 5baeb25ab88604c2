/** Clusters as users write them, right and wrong. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MerakError } from '../../src/errors.js';
import { DEVICE_NAMES } from '../../src/planner/costs/devices.js';
import { parseCluster } from '../../src/planner/search/clusterSpec.js';

const folder = mkdtempSync(join(tmpdir(), 'merak-cluster-'));

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

function failure(text: string): MerakError {
  try {
    parseCluster(text);
  } catch (error) {
    if (error instanceof MerakError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('a spelling', () => {
  it('names hosts, devices, and links or their usual ones', () => {
    const { cluster, workers, memoryLimitBytes } = parseCluster('16x4:rtx3090:ib100', 'bf16');
    expect([workers, cluster.devicesPerHost, cluster.hostLink.name, cluster.networkLink.name]).toEqual([
      64,
      4,
      'pcie4',
      'ib100',
    ]);
    expect(memoryLimitBytes).toBeLessThan(cluster.device.memoryBytes);
    const large = parseCluster('128x8:h100:nvlink3+ib400');
    expect([large.workers, large.cluster.hostLink.name, large.cluster.networkLink.name]).toEqual([
      1024,
      'nvlink3',
      'ib400',
    ]);
    expect(parseCluster('8:b200').cluster.hostLink.name).toBe('nvlink5');
  });

  it.each([
    ['16by4:rtx3090', '--cluster'],
    ['0x4:rtx3090:ib100', '--cluster'],
    ['4', '--cluster'],
    ['2x4:rtx3090', '--cluster 2x4:rtx3090: network'],
    ['2x4:rtx3090:ib101', '--cluster 2x4:rtx3090:ib101: network'],
    ['2x4:rtx390:ib100', '--cluster 2x4:rtx390:ib100: device'],
  ])('%s is refused', (text, path) => {
    expect(failure(text)).toMatchObject({ code: 'config/invalid', path });
  });

  it('of an unknown device lists the known and guesses', () => {
    const error = failure('4:a100-90');
    for (const name of DEVICE_NAMES) expect(error.expected).toContain(name);
    expect(error.hint).toContain("did you mean 'a100-");
  });
});

describe('a file', () => {
  const yaml =
    'name: lab\nhosts: 2\ndevicesPerHost: 4\ndevice: a100-40\nnetwork: { latencySeconds: 1e-5, bytesPerSecond: 5e9 }\n';

  it('says the same in YAML and in JSON, with links of its own', () => {
    const { cluster, workers } = parseCluster(file('lab.yaml', yaml));
    expect([workers, cluster.networkLink.bytesPerSecond, cluster.hostLink.name]).toEqual([8, 5e9, 'nvlink3']);
    const json = { hosts: 2, devicesPerHost: 4, device: 'a100-40', network: 'ib200', memoryBytes: 1e9 };
    expect(parseCluster(file('lab.json', JSON.stringify(json))).memoryLimitBytes).toBe(1e9);
  });

  it.each([
    ['no such key', `${yaml}speed: 3\n`, 'speed'],
    ['no number', yaml.replace('4', 'four'), 'devicesPerHost'],
    ['zero hosts', yaml.replace('hosts: 2', 'hosts: 0'), 'hosts'],
    ['half a link', yaml.replace(', bytesPerSecond: 5e9', ''), 'network'],
    ['an unknown device', yaml.replace('a100-40', 'a10'), 'device'],
    ['nothing', '', 'top level'],
  ])('with %s names the key', (_, text, key) => {
    const path = file('wrong.yaml', text);
    expect(failure(path)).toMatchObject({ code: 'config/invalid', path: `${path}: ${key}` });
  });

  it('that is absent or no YAML says so', () => {
    expect(failure(join(folder, 'absent.yaml')).path).toContain('absent.yaml');
    expect(failure(file('broken.json', '{"hosts": ')).code).toBe('config/invalid');
  });
});
