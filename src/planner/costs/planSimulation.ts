/** A Plan as the simulator takes it: seconds of its programs, bytes of its messages, its reductions and updates. */
import { MerakError } from '../../errors.js';
import type { Link } from '../../pipeline/network.js';
import type { Collective, SimulationInput, VirtualStageSeconds } from '../../pipeline/simulate.js';
import { numVirtualStages, placeOf } from '../../pipeline/virtualStages.js';
import { chunkLayoutOf, rankOf } from '../../plan/mesh.js';
import type { Executable, Plan, RankPlan } from '../../plan/plan.js';
import { ringTransfer } from './collectives.js';
import type { CommunicatorBytes } from './communicatorBytes.js';
import type { DeviceModel } from './device.js';
import type { OperatorCosts } from './operatorCosts.js';
import { executableSeconds } from './programSeconds.js';
import { updateSeconds } from './update.js';

export interface ClusterCosts {
  readonly device: DeviceModel;
  readonly operators: OperatorCosts;
  /** Between pipeline neighbours, between replicas, between tensor peers. */
  readonly pipelineLink: Link;
  readonly dataLink: Link;
  readonly tensorLink: Link;
  /** Between stages, and their replicas, that reduce the gradients of a parameter they share. */
  readonly tiedLink: Link;
  /** Default 'background'. */
  readonly transfers?: SimulationInput['transfers'];
  /** What a rank's communicators take of its memory. Default: nothing. */
  readonly communicatorBytes?: CommunicatorBytes | undefined;
  /** Processors that all ranks share; absent: each has its own. */
  readonly numProcessors?: number;
}

/**
 * The pipeline of replica 0 and tensor rank 0; the others do the same at the same time. Links: per boundary of virtual stages
 * one down and one up, per stage one for its reductions.
 *
 * @throws MerakError 'plan/invalid' when the plan has no executable of that name.
 */
export function planSimulation(plan: Plan, costs: ClusterCosts, name = 'train'): SimulationInput {
  const { mesh } = plan;
  const layout = chunkLayoutOf(plan);
  const stages = Array.from({ length: mesh.pp }, (_, pp) => rankAt(plan, pp, name));
  const programCosts = {
    operators: costs.operators,
    tensorLink: costs.tensorLink,
    tensorRanks: mesh.tp,
    busyShare: costs.transfers === 'receiver' ? 1 : 0,
  };
  const links: Link[] = [];
  const addLink = (link: Link) => links.push(link) - 1;
  const executableOf = (virtual: number) => stages[placeOf(layout, virtual).stage]?.executable;
  const boundaries = Array.from({ length: numVirtualStages(layout) - 1 }, (_, virtual) => {
    const [down, up] = [addLink(costs.pipelineLink), addLink(costs.pipelineLink)];
    const [lower, upper] = [placeOf(layout, virtual), placeOf(layout, virtual + 1)];
    return {
      activation: { bytes: messageBytes(executableOf(virtual), 'activation', lower.chunk), route: [down] },
      gradient: { bytes: messageBytes(executableOf(virtual + 1), 'gradient', upper.chunk), route: [up] },
    };
  });
  const collectives = stages.flatMap(({ rank }, stage) =>
    bucketCollectives(rank, stage, mesh.dp, costs, links, addLink),
  );
  return {
    schedule: {
      name: plan.scheduleName,
      ...layout,
      numMicroBatches: stages[0]?.executable.numMicroBatches ?? plan.numMicroBatches,
      stages: plan.schedule,
    },
    seconds: Array.from({ length: numVirtualStages(layout) }, (_, virtual): VirtualStageSeconds => {
      const { chunk } = placeOf(layout, virtual);
      const seconds = executableSeconds(executableOf(virtual) ?? { programs: [] }, programCosts, chunk);
      return {
        forward: seconds.forward,
        recompute: seconds.recompute,
        inputGradient: seconds.backward,
        weightGradient: seconds.weights,
      };
    }),
    boundaries,
    links,
    transfers: costs.transfers ?? 'background',
    ...(costs.numProcessors === undefined
      ? {}
      : { processors: { count: costs.numProcessors, copies: mesh.dp * mesh.tp } }),
    collectives: mergeTied(collectives),
    updateSeconds: stages.map(({ rank }) => stageUpdateSeconds(rank, costs.device)),
  };
}

function rankAt(plan: Plan, pp: number, name: string): { rank: RankPlan; executable: Executable } {
  const rank = plan.ranks[rankOf(plan.mesh, { pp, dp: 0, tp: 0 })];
  const executable = rank?.executables.find((one) => one.name === name);
  if (rank !== undefined && executable !== undefined) return { rank, executable };
  throw new MerakError('plan/invalid', `the plan has no executable '${name}' for stage ${pp}`);
}

/** Of what a chunk sends to another rank; 0 where it sends nothing or hands it over within the rank. */
function messageBytes(executable: Executable | undefined, what: 'activation' | 'gradient', chunk: number): number {
  for (const instruction of executable?.schedule ?? []) {
    if (instruction.kind !== 'send' || instruction.what !== what || (instruction.chunk ?? 0) !== chunk) continue;
    return instruction.bytes;
  }
  return 0;
}

function bucketCollectives(
  rank: RankPlan,
  stage: number,
  dp: number,
  costs: ClusterCosts,
  links: readonly Link[],
  addLink: (link: Link) => number,
): Collective[] {
  const reduced = rank.gradientBuckets.flatMap(({ group, length }): Collective[] => {
    const ranks = rank.groups.find(({ id }) => id === group)?.ranks ?? [];
    if (ranks.length <= 1) return [];
    const numStages = ranks.length / dp;
    const members = [...new Set(ranks.map((one) => stageOf(rank, one)))];
    const link = addLink(numStages > 1 ? costs.tiedLink : costs.dataLink);
    const transfer = ringTransfer(4 * length, ranks.length, links, [link]);
    return [{ name: numStages > 1 ? `tied ${members.join('+')}` : `gradients ${stage}`, stages: members, transfer }];
  });
  return reduced;
}

function stageOf({ mesh }: RankPlan, rank: number): number {
  return Math.floor(rank / (mesh.dp * mesh.tp));
}

/** A tied parameter's reduction is listed by each of its stages and happens once. */
function mergeTied(collectives: readonly Collective[]): Collective[] {
  return [...new Map(collectives.map((one) => [one.name, one])).values()];
}

function stageUpdateSeconds({ gradientBuckets, optimizer }: RankPlan, device: DeviceModel): number {
  const owned = gradientBuckets.reduce((sum, { length, pieceLength = length }) => sum + 4 * pieceLength, 0);
  return updateSeconds(owned, optimizer, device);
}
