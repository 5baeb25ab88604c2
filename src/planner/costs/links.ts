/** Links known by name: bandwidth in one direction from data sheets, latency as software sees it. */
import { closest } from 'fastest-levenshtein';
import { MerakError } from '../../errors.js';
import type { Link } from '../../pipeline/network.js';

export interface LinkSheet extends Link {
  /** Of the bandwidth. */
  readonly source: string;
  /** A page at which the bandwidth was checked (2026-11-28). */
  readonly page?: string;
  /** Of the latency of one message between two devices. */
  readonly latencySource: string;
}

const GIGA = 1e9;
const NCCL = 'assumption: NCCL point-to-point between GPUs of a node, a few microseconds';
const NCCL_NETWORK = 'assumption: NCCL over verbs, adapter (below 1 us by its data sheet) plus proxy thread';
const TCP = 'assumption: TCP round trip of tens of microseconds in one rack';
const pcie = (generation: number, gigatransfers: number): LinkSheet => ({
  name: `pcie${generation}`,
  // 16 lanes, 128b/130b encoding.
  bytesPerSecond: ((gigatransfers * 16 * 128) / 130 / 8) * GIGA,
  latencySeconds: 8e-6,
  source: `PCI Express Base Specification ${generation}.0, x16, ${gigatransfers} GT/s`,
  page: 'https://hpc-notes.pages.dev/reference/pcie',
  latencySource: NCCL,
});
const nvlink = (generation: number, total: number, device: string, page: string): LinkSheet => ({
  name: `nvlink${generation}`,
  bytesPerSecond: (total / 2) * GIGA,
  latencySeconds: 4e-6,
  source: `NVIDIA ${device} data sheet: ${total} GB/s, both directions together`,
  page,
  latencySource: NCCL,
});
const infiniband = (gigabits: number, adapter: string, page: string): LinkSheet => ({
  name: `ib${gigabits}`,
  bytesPerSecond: (gigabits / 8) * GIGA,
  latencySeconds: 6e-6,
  source: `NVIDIA ${adapter} InfiniBand adapter data sheet: ${gigabits} Gb/s`,
  page,
  latencySource: NCCL_NETWORK,
});
const ethernet = (gigabits: number): LinkSheet => ({
  name: `eth${gigabits}`,
  bytesPerSecond: (gigabits / 8) * GIGA,
  latencySeconds: 30e-6,
  source: `IEEE 802.3: ${gigabits} Gb/s`,
  latencySource: TCP,
});

export const LINKS: readonly LinkSheet[] = [
  pcie(3, 8),
  pcie(4, 16),
  pcie(5, 32),
  nvlink(3, 600, 'A100', 'https://glennklockwood.com/garden/processors/A100'),
  nvlink(4, 900, 'H100 and H200', 'https://glennklockwood.com/garden/processors/h100'),
  // NVIDIA's guide: 14.4 TB/s for eight.
  nvlink(5, 1800, 'DGX B200', 'https://docs.nvidia.com/dgx/dgxb200-user-guide/introduction-to-dgxb200.html'),
  infiniband(
    100,
    'ConnectX-5 (EDR)',
    'https://docs.nvidia.com/nvidia-connectx-5-adapter-cards-firmware-release-notes-v16-35-3502-lts.pdf',
  ),
  infiniband(200, 'ConnectX-6 (HDR)', 'https://docs.nvidia.com/networking/display/ConnectX6VPIOCP3/Introduction'),
  infiniband(400, 'ConnectX-7 (NDR)', 'https://docs.nvidia.com/networking/display/ConnectX7VPI/Introduction'),
  ethernet(10),
  ethernet(100),
  {
    name: 'shm',
    bytesPerSecond: 7 * GIGA,
    latencySeconds: 1e-6,
    source:
      'measured on the reference machine: processes that copy through shared memory (`merak profile` measures yours)',
    latencySource: 'measured on the reference machine',
  },
];

export const LINK_NAMES: readonly string[] = LINKS.map(({ name }) => name);

/** @throws MerakError 'config/invalid' for a link nobody listed. */
export function linkByName(name: string): LinkSheet {
  const link = LINKS.find((one) => one.name === name);
  if (link !== undefined) return link;
  throw new MerakError('config/invalid', `no link is called '${name}'`, {
    expected: LINK_NAMES.join(', '),
    received: name,
    hint: `did you mean '${closest(name, [...LINK_NAMES])}'?`,
  });
}
