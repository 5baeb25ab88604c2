/** The machines a search plans for, and which link joins which ranks of a mesh. */
import type { Link } from '../../pipeline/network.js';
import type { SimulationInput } from '../../pipeline/simulate.js';
import type { Mesh } from '../../plan/plan.js';
import type { CommunicatorBytes } from '../costs/communicatorBytes.js';
import type { DeviceModel } from '../costs/device.js';
import { deviceByName } from '../costs/devices.js';
import { linkByName } from '../costs/links.js';
import { rooflineCosts } from '../costs/operatorCosts.js';
import type { ClusterCosts } from '../costs/planSimulation.js';
import type { Profile } from '../costs/profile.js';

/** Equal hosts of equal devices; ranks fill one host after the other. */
export interface Cluster {
  readonly name: string;
  readonly device: DeviceModel;
  readonly devicesPerHost: number;
  /** Between devices of a host. */
  readonly hostLink: Link;
  /** What a reduction among devices of a host sees. Default: the hostLink. */
  readonly reductionLink?: Link | undefined;
  /** Between hosts; all devices of a host share it. */
  readonly networkLink: Link;
  /** Default 'background'. */
  readonly transfers?: SimulationInput['transfers'];
  /** Cores that all workers share; absent: each has a device of its own. */
  readonly numProcessors?: number;
  /** What a rank's communicators take of a device's memory. Default: nothing. */
  readonly communicatorBytes?: CommunicatorBytes | undefined;
}

/**
 * Workers on one CPU host. Each gets numCores / workers threads, at least one; beyond that they share the cores, so more
 * workers than cores do not compute faster. `profile`: what `merak profile` measured here.
 */
export function localCluster(workers: number, numCores: number, memoryBytes: number, profile?: Profile): Cluster {
  const threads = Math.max(1, Math.floor(numCores / workers));
  const core = profile?.device ?? deviceByName('cpu');
  const speedUp = threads / (profile?.threads ?? 1);
  const faster = ({ size, rate }: { readonly size: number; readonly rate: number }) => ({ size, rate: rate * speedUp });
  const own = Object.entries(core.kernelFlops ?? {}).map(([kernel, curve]) => [kernel, curve.map(faster)] as const);
  const shared = linkByName('shm');
  return {
    name: `${workers} workers on ${numCores} ${numCores === 1 ? 'core' : 'cores'}`,
    device: {
      ...core,
      productFlops: core.productFlops.map(faster),
      ...(core.thinProductFlops === undefined ? {} : { thinProductFlops: core.thinProductFlops.map(faster) }),
      ...(core.kernelFlops === undefined ? {} : { kernelFlops: Object.fromEntries(own) }),
      vectorFlopsPerSecond: core.vectorFlopsPerSecond * speedUp,
      memoryBytesPerSecond: core.memoryBytesPerSecond.map(faster),
      memoryBytes,
    },
    devicesPerHost: workers,
    hostLink: profile?.links?.messages ?? shared,
    reductionLink: profile?.links?.allReduce,
    networkLink: profile?.links?.messages ?? shared,
    transfers: 'receiver',
    numProcessors: Math.max(1, numCores / threads),
  };
}

/**
 * Prices of a mesh on the cluster. Tensor ranks are neighbours, then replicas, then stages, as plan/mesh.ts numbers them;
 * what leaves a host shares its network with the like transfers of the host's other ranks.
 */
export function clusterCosts(cluster: Cluster, mesh: Mesh): ClusterCosts {
  const { device, devicesPerHost, hostLink, networkLink, reductionLink = hostLink } = cluster;
  const join = (numRanks: number, sharing: number, within = reductionLink): Link => {
    if (numRanks <= devicesPerHost) return within;
    const copies = Math.max(1, Math.min(devicesPerHost, sharing));
    return { ...networkLink, bytesPerSecond: networkLink.bytesPerSecond / copies };
  };
  // In a reduction everybody copies at once.
  const meeting = (link: Link): Link => ({
    ...link,
    bytesPerSecond: link.bytesPerSecond / workersPerCore(cluster, mesh),
  });
  return {
    device,
    operators: rooflineCosts(device),
    tensorLink: meeting(join(mesh.tp, 1)),
    dataLink: meeting(join(mesh.tp * mesh.dp, mesh.tp)),
    pipelineLink: join(mesh.tp * mesh.dp * mesh.pp, mesh.tp * mesh.dp, hostLink),
    tiedLink: meeting(join(mesh.tp * mesh.dp * mesh.pp, mesh.tp)),
    transfers: cluster.transfers,
    communicatorBytes: cluster.communicatorBytes,
    ...(cluster.numProcessors === undefined ? {} : { numProcessors: cluster.numProcessors }),
  };
}

/** How many workers share a core when all compute; 1 where each has its own. */
export function workersPerCore(cluster: Pick<Cluster, 'numProcessors'>, mesh: Mesh): number {
  return Math.max(1, (mesh.pp * mesh.dp * mesh.tp) / (cluster.numProcessors ?? Number.POSITIVE_INFINITY));
}
