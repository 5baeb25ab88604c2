/**
 * What NCCL's communicators take of a card beside the arenas: an upper figure, of NCCL 2.22 and later, on one host. Sources: NCCL's
 * documentation (NCCL_BUFFSIZE, maxCTAs) and its source (src/init.cc, transport/p2p.cc, transport/nvls.cc); an all-to-all of 8
 * H100 was seen to take 3.28 GB in pieces of 10 and 2 MiB (NVIDIA/nccl#1685): 14 MiB for each of 7 peers and 32 channels.
 */
import type { Mesh } from '../../plan/plan.js';

/** Bytes of a rank's communicators in a mesh whose stages hold so many chunks of the model. */
export type CommunicatorBytes = (mesh: Mesh, numChunks: number) => number;

/** How many of NCCL's channels a communicator may use: of a group of ranks, of all, of one channel of messages. */
export interface ChannelLimits {
  readonly group: number;
  readonly world: number;
  readonly message: number;
}

const MIB = 2 ** 20;
/** A channel's buffers towards one peer: what it receives into (LL 0.5, LL128 4.7, Simple 4 MiB), and a page of 2 MiB for either end. */
const NEIGHBOUR = 14 * MIB;
/** Of a channel and rank, where NVLink's switch adds up: two buffers of 8 steps of 128 KiB. */
const SWITCHED = 2 * MIB;
/** A communicator's own tables and queue of work: an assumption. */
const FIXED = 8 * MIB;

export function ncclBytes(limits: ChannelLimits): CommunicatorBytes {
  return (mesh, numChunks) => {
    const world = mesh.pp * mesh.dp * mesh.tp;
    const groups =
      groupBytes(mesh.tp, limits.group) +
      groupBytes(mesh.dp, limits.group) +
      groupBytes(world, limits.world) +
      // Stages that share a parameter, and their replicas.
      (mesh.pp > 1 ? groupBytes(2 * mesh.dp, limits.group) : 0);
    // A ring each way beside the channel's own connections.
    const message = 2 * NEIGHBOUR * limits.message + FIXED;
    return groups + numMessageChannels(mesh.pp, numChunks) * message;
  };
}

/** Of a communicator of so many ranks with so many channels. Rings and trees have one neighbour where there are two ranks, else two. */
export function groupBytes(numRanks: number, numChannels: number): number {
  if (numRanks === 1) return 0;
  const neighbours = numRanks === 2 ? 1 : 2;
  const switched = numRanks === 2 ? 0 : numRanks * SWITCHED;
  return numChannels * (neighbours * NEIGHBOUR + switched) + FIXED;
}

/** Of a stage within the pipeline: activations and gradients, from and to each neighbour, both ways where the chunks turn. */
function numMessageChannels(numStages: number, numChunks: number): number {
  if (numStages === 1) return 0;
  const oneWay = numStages === 2 && numChunks === 1 ? 2 : 4;
  return numChunks > 1 && numStages > 2 ? 2 * oneWay : oneWay;
}
