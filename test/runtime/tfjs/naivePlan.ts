/** A plan made the simplest way: every value of a stage has its own place in `saved`. */
import { differentiate } from '../../../src/autodiff/differentiate.js';
import type { Graph, Value, ValueId } from '../../../src/graph/graph.js';
import type {
  Executable,
  Group,
  Instruction,
  OptimizerPlan,
  Program,
  ProgramNode,
  ProgramValue,
  RankPlan,
  Slots,
  Space,
  SpacePlan,
} from '../../../src/plan/plan.js';

export interface NaiveOptions {
  readonly stages: readonly Graph[];
  readonly dp: number;
  readonly numMicroBatches: number;
  readonly optimizer?: OptimizerPlan;
  readonly clipNorm?: number;
}

const size = (value: Pick<Value, 'shape'>) => value.shape.reduce((a, b) => a * b, 1);

/** GPipe over the stages, data parallel over `dp`, one rank plan per rank (pp major, then dp). */
export function naivePlans({
  stages,
  dp,
  numMicroBatches,
  optimizer = { kind: 'sgd' },
  clipNorm = 0,
}: NaiveOptions): RankPlan[] {
  const pp = stages.length;
  const all = Array.from({ length: pp * dp }, (_, rank) => rank);
  return all.map((rank) => {
    const [stage, replica] = [Math.floor(rank / dp), rank % dp];
    const dpGroup: Group = { id: 1 + stage, axis: 'dp', ranks: all.filter((peer) => Math.floor(peer / dp) === stage) };
    const groups: Group[] = [dpGroup, { id: 0, axis: 'world', ranks: all }];
    return rankPlan({
      graph: stages[stage] as Graph,
      rank,
      pp,
      dp,
      stage,
      replica,
      numMicroBatches,
      optimizer,
      clipNorm,
      groups,
      dpGroup: dpGroup.id,
    });
  });
}

interface RankInput {
  readonly graph: Graph;
  readonly rank: number;
  readonly pp: number;
  readonly dp: number;
  readonly stage: number;
  readonly replica: number;
  readonly numMicroBatches: number;
  readonly optimizer: OptimizerPlan;
  readonly clipNorm: number;
  readonly groups: readonly Group[];
  readonly dpGroup: number;
}

function rankPlan(input: RankInput): RankPlan {
  const { graph, rank, pp, dp, stage, numMicroBatches, optimizer } = input;
  const derivative = differentiate({ stage, graph, parameterOf: graph.parameters.map((_, i) => i) });
  const joint = derivative.graph;
  const place = new Map<ValueId, readonly [Space, number]>();
  const lay = (ids: readonly ValueId[], space: Space) => {
    let offset = 0;
    for (const id of ids) {
      if (!place.has(id)) place.set(id, [space, offset]);
      offset += size(joint.values[id] as Value) * 4;
    }
    return offset;
  };
  const isReceived = (name: string) => name.startsWith('received/');
  const fields = graph.inputs.filter(({ name }) => !isReceived(name));
  lay(
    fields.map(({ value }) => value),
    'batch',
  );
  const receivedBytes = lay(
    graph.inputs.filter(({ name }) => isReceived(name)).map(({ value }) => value),
    'received',
  );
  lay(
    derivative.outputGradients.filter((id) => id !== null),
    'receivedGradients',
  );
  const parameterBytes = lay(
    graph.parameters.map(({ value }) => value),
    'parameters',
  );
  lay(
    joint.constants.map(({ value }) => value),
    'constants',
  );
  lay(
    joint.nodes.flatMap(({ outputs }) => outputs),
    'saved',
  );

  const last = stage === pp - 1;
  const typeAt = (id: ValueId): ProgramValue => {
    const [space, offset] = place.get(id) as [Space, number];
    const { shape, dtype } = joint.values[id] as Value;
    return { shape, dtype, space, offset };
  };
  const build = (
    kind: Program['kind'],
    from: number,
    to: number,
    effects: readonly { kernel: string; id: ValueId; space: Space; offset: number }[],
  ): Program => {
    const values: ProgramValue[] = joint.values.map((_, id) =>
      place.has(id) ? typeAt(id) : { shape: [], dtype: 'float32', space: 'scratch', offset: 0 },
    );
    const nodes: ProgramNode[] = [...joint.nodes.slice(from, to)];
    for (const { kernel, id, space, offset } of effects) {
      const { shape, dtype } = joint.values[id] as Value;
      const target = values.push({ shape, dtype, space, offset }) - 1;
      nodes.push({ kernel, inputs: [id], inputNames: ['x'], outputs: [target], attrs: {}, scope: '' });
    }
    return { kind, values, nodes };
  };
  let sentBytes = 0;
  const forwardEffects = graph.outputs.map(({ value }, index) => {
    if (last) return { kernel: 'MerakAccumulate', id: value, space: 'metrics' as const, offset: index * 4 };
    const effect = { kernel: 'MerakAssign', id: value, space: 'sent' as const, offset: sentBytes };
    sentBytes += size(joint.values[value] as Value) * 4;
    return effect;
  });
  let sentGradientBytes = 0;
  const backwardEffects = [
    ...derivative.receivedGradients.flatMap((id) => {
      if (id === null) return [];
      const effect = { kernel: 'MerakAssign', id, space: 'sentGradients' as const, offset: sentGradientBytes };
      sentGradientBytes += size(joint.values[id] as Value) * 4;
      return [effect];
    }),
    ...derivative.parameterGradients.flatMap((id, index) =>
      id === null
        ? []
        : [
            {
              kernel: 'MerakAccumulate',
              id,
              space: 'gradients' as const,
              offset: place.get((graph.parameters[index] as { value: number }).value)?.[1] ?? 0,
            },
          ],
    ),
  ];
  const numMoments = { sgd: 0, momentum: 1, rmsprop: 3, adam: 2 }[optimizer.kind];
  const executable: Executable = {
    name: 'train',
    numMicroBatches,
    microBatchSize: 0,
    spaces: [
      space('sent', sentBytes, numMicroBatches),
      space('received', receivedBytes, numMicroBatches),
      space('sentGradients', sentGradientBytes, numMicroBatches),
    ],
    arenaBytes: 0,
    programs: [
      build('forward', 0, derivative.numForwardNodes, forwardEffects),
      build('backward', derivative.numForwardNodes, joint.nodes.length, backwardEffects),
    ],
    schedule: gpipe(input, { activation: sentBytes, gradient: sentGradientBytes }),
    inputs: fields.map(({ name, value }) => ({
      name,
      ...(joint.values[value] as Value),
      offset: place.get(value)?.[1] ?? 0,
    })),
    metrics: last ? graph.outputs.map(({ name }) => name) : [],
    outputs: [],
    constants: joint.constants.map(({ value, data }) => ({ offset: place.get(value)?.[1] ?? 0, data })),
  };
  return {
    rank,
    coordinates: { pp: stage, dp: input.replica, tp: 0 },
    mesh: { pp, dp, tp: 1 },
    groups: input.groups,
    parameters: graph.parameters.map(({ name, value, trainable }, index) => {
      const { shape, dtype } = joint.values[value] as Value;
      const offset = place.get(value)?.[1] ?? 0;
      const momentOffsets = Array.from({ length: numMoments }, (_, moment) => moment * parameterBytes + offset);
      return {
        parameter: index,
        name,
        shape,
        dtype,
        trainable,
        offset,
        gradientOffset: trainable ? offset : -1,
        momentOffsets,
        countsInNorm: true,
        decays: shape.length >= 2,
      };
    }),
    persistentSpaces: [],
    persistentBytes: 0,
    gradientBuckets: [{ group: input.dpGroup, offset: 0, length: parameterBytes / 4, scale: 1 / dp }],
    stateBuckets: [],
    optimizer,
    clipNorm: input.clipNorm,
    executables: [executable],
  };
}

function space(name: Space, bytesPerSlot: number, numSlots: number): SpacePlan {
  return { space: name, base: 0, bytesPerSlot, numSlots };
}

function gpipe(
  { rank, dp, pp, stage, numMicroBatches }: RankInput,
  bytes: Readonly<Record<'activation' | 'gradient', number>>,
): Instruction[] {
  const slots = (slot: number): Slots => ({
    batch: slot,
    received: slot,
    sent: slot,
    saved: slot,
    receivedGradients: slot,
    sentGradients: slot,
    pending: -1,
    recomputed: -1,
  });
  const micros = Array.from({ length: numMicroBatches }, (_, micro) => micro);
  const message = (
    kind: 'send' | 'receive',
    what: 'activation' | 'gradient',
    micro: number,
    peer: number,
    present: boolean,
  ): Instruction[] => (present ? [{ kind, what, micro, slot: micro, bytes: bytes[what], peer }] : []);
  return [
    { kind: 'zero' },
    ...micros.flatMap((micro): Instruction[] => [
      { kind: 'load', micro, slot: micro },
      ...message('receive', 'activation', micro, rank - dp, stage > 0),
      { kind: 'forward', micro, slots: slots(micro) },
      ...message('send', 'activation', micro, rank + dp, stage < pp - 1),
    ]),
    ...micros.flatMap((micro): Instruction[] => [
      ...message('receive', 'gradient', micro, rank + dp, stage < pp - 1),
      { kind: 'backward', micro, slots: slots(micro) },
      ...message('send', 'gradient', micro, rank - dp, stage > 0),
    ]),
    { kind: 'reduce' },
    { kind: 'update' },
  ];
}
