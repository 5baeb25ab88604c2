/** The cards of this machine as a search plans for them: by their own profile, else by the data sheet of their name, else of their kind. */
import type { Link } from '../../pipeline/network.js';
import type { CommunicatorBytes } from '../costs/communicatorBytes.js';
import type { DeviceModel } from '../costs/device.js';
import { ARITHMETIC, deviceByName, sheetOfCard } from '../costs/devices.js';
import { linkByName } from '../costs/links.js';
import type { CardProfile, Profile } from '../costs/profile.js';
import type { Precision } from '../fuse.js';
import type { Cluster } from './cluster.js';
import { HOST_LINKS } from './clusterSpec.js';

/** What plans are made for where no card is. */
export const PLANNED_CARD = { sheet: 'h100', capability: 90 } as const;

export interface GpuClusterRequest {
  readonly workers: number;
  /** That the workers take turns on. */
  readonly numGpus: number;
  /** As the driver names it, and its compute capability (90); undefined where plans are made without one (PLANNED_CARD). */
  readonly card: { readonly name: string; readonly capability: number } | undefined;
  /** Where workers with a card each exchange from card to card: what that takes of the card. */
  readonly nccl: CommunicatorBytes | undefined;
  /** Of each worker. */
  readonly memoryBytes: number;
  readonly precision: Precision;
  readonly profile?: Profile | undefined;
}

/** Ranks that share a card take turns on it, as workers do on a core, and exchange through the host, which waits for them. */
export function gpuCluster(request: GpuClusterRequest): Cluster {
  const { workers, numGpus, card, nccl, memoryBytes, precision, profile } = request;
  const measured = card === undefined ? undefined : profile?.cards?.[card.name];
  const sheet = sheetFor(card);
  const device = measured === undefined ? deviceByName(sheet, ARITHMETIC[precision]) : deviceIn(measured, precision);
  const ownCards = workers <= numGpus && nccl !== undefined;
  const links = ownCards ? measured?.ownLinks : measured?.sharedLinks;
  const usual: Link = linkByName(ownCards ? (HOST_LINKS[sheet] ?? 'pcie4') : 'shm');
  const cards = `${numGpus} x ${card?.name ?? `${sheet}, none being here`}`;
  return {
    name: `${workers} ${workers === 1 ? 'worker' : 'workers'} on ${cards} (${sourceOf(measured, sheet, card?.name)})`,
    device: { ...device, memoryBytes },
    devicesPerHost: workers,
    hostLink: links?.messages ?? usual,
    reductionLink: links?.allReduce,
    networkLink: links?.messages ?? usual,
    transfers: ownCards ? 'background' : 'receiver',
    ...(ownCards && { communicatorBytes: nccl }),
    ...(workers > numGpus ? { numProcessors: numGpus } : {}),
  };
}

/** A measured card in a precision; float16 runs as bfloat16 does. */
export function deviceIn(card: CardProfile, precision: Precision): DeviceModel {
  return card[precision === 'f16' ? 'bf16' : precision];
}

/** The data sheet for a card that nobody measured: its own, or that of a card of its generation. */
function sheetFor(card: GpuClusterRequest['card']): string {
  if (card === undefined) return PLANNED_CARD.sheet;
  const own = sheetOfCard(card.name)?.name;
  if (own !== undefined) return own;
  const { capability } = card;
  return capability >= 100 ? 'b200' : capability >= 90 ? 'h100' : capability > 80 ? 'rtx3090' : 'a100-80';
}

function sourceOf(measured: CardProfile | undefined, sheet: string, name: string | undefined): string {
  if (measured !== undefined) return `its profile of ${measured.measuredAt.slice(0, 10)}`;
  if (name === undefined) return 'by the data sheet';
  const whose = sheetOfCard(name) === undefined ? `the data sheet of ${sheet}` : 'its data sheet';
  return `by ${whose}: \`merak profile --device cuda\` measures it`;
}
