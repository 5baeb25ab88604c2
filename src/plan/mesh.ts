/** Ranks, coordinates and the groups of ranks that meet in collectives. */
import { type ChunkLayout, lastStageOf } from '../pipeline/virtualStages.js';
import type { Coordinates, Group, Mesh, Plan } from './plan.js';

export function numRanks(mesh: Mesh): number {
  return mesh.pp * mesh.dp * mesh.tp;
}

/** Tensor peers are adjacent, pipeline neighbours far apart. */
export function rankOf(mesh: Mesh, { pp, dp, tp }: Coordinates): number {
  return (pp * mesh.dp + dp) * mesh.tp + tp;
}

export function coordinatesOf(mesh: Mesh, rank: number): Coordinates {
  return {
    pp: Math.floor(rank / (mesh.dp * mesh.tp)),
    dp: Math.floor(rank / mesh.tp) % mesh.dp,
    tp: rank % mesh.tp,
  };
}

/** How a plan's model chunks lie on its stages. */
export function chunkLayoutOf({
  mesh,
  numChunks,
  placement,
}: Pick<Plan, 'mesh' | 'numChunks' | 'placement'>): ChunkLayout {
  return {
    numStages: mesh.pp,
    ...(numChunks === undefined ? {} : { numChunks }),
    ...(placement === undefined ? {} : { placement }),
  };
}

/** The stage where the model ends: its ranks report losses and predictions. */
export function endStageOf(plan: Pick<Plan, 'mesh' | 'numChunks' | 'placement'>): number {
  return lastStageOf(chunkLayoutOf(plan));
}

/**
 * All groups of the plan, ids dense from 0: the world; one tp group per (pp, dp); one dp group per (pp, tp); for each
 * set of stages that share a parameter one 'tie' group per tp, over those stages and the whole data axis, so that one
 * reduction both ties and averages. Groups of one rank are listed too.
 */
export function buildGroups(mesh: Mesh, tiedStages: readonly (readonly number[])[]): Group[] {
  const range = (length: number) => Array.from({ length }, (_, index) => index);
  const groups: Omit<Group, 'id'>[] = [{ axis: 'world', ranks: range(numRanks(mesh)) }];
  for (const pp of range(mesh.pp)) {
    for (const dp of range(mesh.dp)) {
      groups.push({ axis: 'tp', ranks: range(mesh.tp).map((tp) => rankOf(mesh, { pp, dp, tp })) });
    }
    for (const tp of range(mesh.tp)) {
      groups.push({ axis: 'dp', ranks: range(mesh.dp).map((dp) => rankOf(mesh, { pp, dp, tp })) });
    }
  }
  const distinct = [...new Map(tiedStages.filter((stages) => stages.length > 1).map((s) => [s.join(), s])).values()];
  for (const stages of distinct) {
    for (const tp of range(mesh.tp)) {
      const ranks = stages.flatMap((pp) => range(mesh.dp).map((dp) => rankOf(mesh, { pp, dp, tp })));
      groups.push({ axis: 'tie', ranks });
    }
  }
  return groups.map((group, id) => ({ id, ...group }));
}

/** The group in which a rank reduces the gradient of a parameter held by `stages`. */
export function reductionGroup(groups: readonly Group[], mesh: Mesh, rank: number, stages: readonly number[]): Group {
  const { dp: _, tp } = coordinatesOf(mesh, rank);
  const wanted = stages
    .flatMap((pp) => Array.from({ length: mesh.dp }, (_, dp) => rankOf(mesh, { pp, dp, tp })))
    .join();
  const axis = stages.length > 1 ? 'tie' : 'dp';
  const group = groups.find((candidate) => candidate.axis === axis && candidate.ranks.join() === wanted);
  if (group === undefined) throw new Error(`no ${axis} group joins ranks ${wanted}`);
  return group;
}
