/** Clusters as users write them: `16x4:rtx3090:ib100`, or a YAML or JSON file. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { closest } from 'fastest-levenshtein';
import { z } from 'zod';
import { MerakError } from '../../errors.js';
import type { Link } from '../../pipeline/network.js';
import { ARITHMETIC, deviceByName } from '../costs/devices.js';
import { linkByName } from '../costs/links.js';
import type { Precision } from '../fuse.js';
import type { Cluster } from './cluster.js';

/** Driver context, communicator buffers and kernel workspace of a GPU, which no plan counts: an assumption. */
const RESERVED_BYTES = 1.5 * 2 ** 30;

/** The link between a device's peers on one host where nobody names another. */
export const HOST_LINKS: Readonly<Record<string, string>> = {
  rtx3090: 'pcie4',
  'a100-40': 'nvlink3',
  'a100-80': 'nvlink3',
  h100: 'nvlink4',
  h200: 'nvlink4',
  b200: 'nvlink5',
  cpu: 'shm',
};

const count = z.number().int().min(1);
const linkSchema = z.union([
  z.string(),
  z.strictObject({ latencySeconds: z.number().min(0), bytesPerSecond: z.number().positive() }),
]);

/** The keys of a cluster file. */
export const clusterSchema = z.strictObject({
  name: z.string().optional(),
  hosts: count.default(1),
  devicesPerHost: count,
  /** A name of planner/costs/devices.ts. */
  device: z.string(),
  /** Between devices of a host: a name of planner/costs/links.ts, or its figures. Default: the device's usual one. */
  hostLink: linkSchema.optional(),
  /** Between hosts, per host. */
  network: linkSchema.optional(),
  /** That training may use of each device. Default: the device's, less a reserve on GPUs. */
  memoryBytes: z.number().positive().optional(),
});

export type ClusterInput = z.input<typeof clusterSchema>;

export interface ClusterPlan {
  readonly cluster: Cluster;
  readonly workers: number;
  readonly memoryLimitBytes: number;
}

const SPELLING =
  'HOSTSxDEVICES:DEVICE[:HOSTLINK+NETWORK], e.g. 16x4:rtx3090:ib100, 128x8:h100:nvlink4+ib400, 8:a100-80';

/**
 * `text`: a spelling (`16x4:rtx3090:ib100`, `128x8:h100:nvlink4+ib400`, `8:a100-80`) or the path of a file with the keys of
 * `clusterSchema`.
 *
 * @throws MerakError 'config/invalid' naming the part or the key that is wrong, what is known, and what was perhaps meant.
 */
export function parseCluster(text: string, precision: Precision = 'f32'): ClusterPlan {
  const isFile = /\.(ya?ml|json)$/i.test(text) || existsSync(text);
  return isFile ? fromFile(text, precision) : build(fromSpelling(text), precision, `--cluster ${text}`, text);
}

function fromSpelling(text: string): z.output<typeof clusterSchema> {
  const [sizes = '', device = '', links = '', ...rest] = text.split(':');
  const match = /^(?:(\d+)x)?(\d+)$/.exec(sizes);
  if (match === null || device === '' || rest.length > 0 || Number(match[1] ?? 1) < 1 || Number(match[2]) < 1) {
    throw new MerakError('config/invalid', `'${text}' is no cluster`, {
      path: '--cluster',
      expected: `${SPELLING}; or a .yaml or .json file`,
      received: text,
    });
  }
  const names = links === '' ? [] : links.split('+');
  const [hostLink, network] = names.length > 1 ? names : [undefined, names[0]];
  return {
    hosts: Number(match[1] ?? 1),
    devicesPerHost: Number(match[2]),
    device,
    ...(hostLink === undefined ? {} : { hostLink }),
    ...(network === undefined ? {} : { network }),
  };
}

function fromFile(path: string, precision: Precision): ClusterPlan {
  if (!existsSync(path)) {
    throw new MerakError('config/invalid', 'there is no such cluster file', { path, expected: SPELLING });
  }
  // Half as long to load as all of Merak: only where there is a file.
  const { parse }: typeof import('yaml') = createRequire(import.meta.url)('yaml');
  let data: unknown;
  try {
    data = parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw new MerakError('config/invalid', `the cluster file is neither YAML nor JSON: ${reason}`, { path, cause });
  }
  const result = clusterSchema.safeParse(data);
  if (result.success) return build(result.data, precision, path, result.data.name ?? path);
  const [issue] = result.error.issues;
  const known = Object.keys(clusterSchema.shape);
  const key = issue?.code === 'unrecognized_keys' ? (issue.keys[0] ?? '') : (issue?.path.join('.') ?? '');
  throw new MerakError('config/invalid', `the cluster file is wrong: ${issue?.message ?? ''}`, {
    path: `${path}: ${key === '' ? 'top level' : key}`,
    expected: `the keys ${known.join(', ')}`,
    ...(issue?.code === 'unrecognized_keys' ? { hint: `did you mean '${closest(key, known)}'?` } : {}),
  });
}

function build(
  { hosts, devicesPerHost, device: deviceName, hostLink, network, memoryBytes }: z.output<typeof clusterSchema>,
  precision: Precision,
  origin: string,
  name: string,
): ClusterPlan {
  const arithmetic = ARITHMETIC[precision];
  const device = at(`${origin}: device`, () => deviceByName(deviceName, arithmetic));
  const linkOf = (key: string, given: z.output<typeof linkSchema>): Link =>
    at(`${origin}: ${key}`, () => (typeof given === 'string' ? linkByName(given) : { name: key, ...given }));
  if (hosts > 1 && network === undefined) {
    throw new MerakError('config/invalid', `${hosts} hosts need a network`, {
      path: `${origin}: network`,
      expected: 'a link such as ib100, ib400 or eth100',
      hint: `e.g. ${hosts}x${devicesPerHost}:${deviceName}:ib100`,
    });
  }
  const within = linkOf('hostLink', hostLink ?? HOST_LINKS[deviceName] ?? 'pcie4');
  return {
    workers: hosts * devicesPerHost,
    memoryLimitBytes: memoryBytes ?? device.memoryBytes - (deviceName === 'cpu' ? 0 : RESERVED_BYTES),
    cluster: {
      name: `${hosts} x ${devicesPerHost} ${deviceName} (${within.name}${network === undefined ? '' : `, ${linkOf('network', network).name}`})${name === '' || origin.startsWith('--') ? '' : ` of ${name}`}`,
      device,
      devicesPerHost,
      hostLink: within,
      networkLink: network === undefined ? within : linkOf('network', network),
    },
  };
}

/** Errors of the tables, with the place that named the entry. */
function at<T>(path: string, look: () => T): T {
  try {
    return look();
  } catch (error) {
    if (!(error instanceof MerakError)) throw error;
    const { code, summary, expected, received, hint } = error;
    throw new MerakError(code, summary, {
      path,
      ...(expected === undefined ? {} : { expected }),
      ...(received === undefined ? {} : { received }),
      ...(hint === undefined ? {} : { hint }),
    });
  }
}
