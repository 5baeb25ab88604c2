/** A stage as programs: what runs forward, what is run again, what runs backward, and where every value lies. */
import type { Derivative } from '../autodiff/derivative.js';
import { neededByBackward } from '../autodiff/needed.js';
import { MerakError } from '../errors.js';
import { valueBytes } from '../graph/cost.js';
import type { Graph, Node, ValueId } from '../graph/graph.js';
import { tensorType } from '../partitioner/producers.js';
import type { Stage } from '../partitioner/stage.js';
import { type GradientMessages, isReceived, type Message, packMessage, receivedValues } from './boundaries.js';
import { type Address, buildProgram, type Effect } from './buildProgram.js';
import { gradientTerms } from './gradientTerms.js';
import { packSequentially } from './memory.js';
import type { Executable, InputPlan, OutputPlan, Program, Space } from './plan.js';
import { storageOfValues } from './storage.js';

/** Per parameter of the stage graph: where it and its gradient lie in the persistent arena. */
export interface ParameterAddress {
  readonly offset: number;
  readonly gradientOffset: number;
}

export interface LoweringInput {
  readonly stage: Stage;
  readonly isLast: boolean;
  /** Scalars summed into `metrics`, or results left in `sent`. */
  readonly results: 'metrics' | 'outputs';
  readonly parameters: readonly ParameterAddress[];
  /** As in ProgramInput. */
  readonly fusesChains?: boolean | undefined;
  /** Absent: forward only. */
  readonly backward?: {
    readonly derivative: Derivative;
    readonly messages: GradientMessages;
    /** What the forward program keeps; the rest is recomputed. */
    readonly saved: ReadonlySet<ValueId>;
    /** Whether gradients of parameters that no gradient to send needs get a program of their own (W). Default false. */
    readonly splitsWeights?: boolean;
  };
}

export interface LoweredStage {
  readonly programs: readonly Program[];
  /** Bytes of one slot of each working space. */
  readonly bytes: Readonly<Partial<Record<Space, number>>>;
  readonly inputs: readonly InputPlan[];
  readonly metrics: readonly string[];
  readonly outputs: readonly OutputPlan[];
  readonly constants: Executable['constants'];
}

/** @throws MerakError 'plan/invalid' when the stage cannot be laid out (a metric that is no f32 scalar, ...). */
export function lowerStage(input: LoweringInput): LoweredStage {
  const { stage, backward } = input;
  const graph = backward?.derivative.graph ?? stage.graph;
  const numForward = backward?.derivative.numForwardNodes ?? graph.nodes.length;
  const storageOf = storageOfValues(graph);
  const storage = (value: ValueId) => storageOf[value] ?? value;
  const inputs = placeInputs(stage);
  const received = packMessage(graph, receivedValues(stage));
  const sent = input.isLast && input.results === 'metrics' ? undefined : packMessage(graph, outputValues(stage));
  const constants = packSequentially(graph.constants.map(({ value }) => valueBytes(tensorType(graph, value))));
  const needed = backward === undefined ? new Set<ValueId>() : neededByBackward(backward.derivative);

  const external = new Map<ValueId, Address>();
  const place = (value: ValueId, space: Space, offset: number) => external.set(value, { space, offset });
  for (const field of inputs.fields) place(field.value, 'batch', field.offset);
  placeMessage(received, 'received', place);
  if (backward !== undefined) placeMessage(backward.messages.arriving, 'receivedGradients', place);
  graph.parameters.forEach((parameter, i) => {
    place(parameter.value, 'parameters', input.parameters[i]?.offset ?? 0);
  });
  graph.constants.forEach((constant, i) => {
    place(constant.value, 'constants', constants.offsets[i] ?? 0);
  });

  // What backward reads lies in `saved`, kept by forward, or in `recomputed`, made again.
  const keptStorages = new Set([...(backward?.saved ?? [])].map(storage));
  const isKept = (value: ValueId) => keptStorages.has(storage(value)) || external.has(storage(value));
  const saved = packMessage(
    graph,
    [...keptStorages].filter((value) => !external.has(value)),
  );
  const savedAddress = addresses(saved, 'saved');
  const missingStorages = new Set([...needed].filter((value) => !isKept(value)).map(storage));
  const recomputed = packMessage(graph, [...missingStorages]);
  const recomputedAddress = addresses(recomputed, 'recomputed');
  const sentAddress = sent === undefined ? new Map<ValueId, Address>() : addresses(mapValues(sent, storage), 'sent');

  const forwardEffects = [
    ...(sent === undefined ? metricEffects(stage, graph) : copies(sent, 'sent')),
    ...graph.updates.map(({ parameter, value }): Effect => {
      const target = { space: 'parameters', offset: input.parameters[parameter]?.offset ?? 0 } as const;
      return { kernel: 'MerakAssign', value, target, last: true };
    }),
  ];
  const forwardNodes = graph.nodes.slice(0, numForward);
  const forwardAddress = (value: ValueId) => external.get(value) ?? savedAddress.get(value) ?? sentAddress.get(value);
  const build = (
    kind: Program['kind'],
    nodes: readonly Node[],
    effects: readonly Effect[],
    addressOf: (value: ValueId) => Address | undefined,
  ) => {
    const misplaced = effects.filter((effect) => !sameAddress(addressOf(storage(effect.value)), effect.target));
    const fusesChains = input.fusesChains === true;
    return buildProgram({ kind, graph, nodes, effects: misplaced, storageOf, addressOf, fusesChains });
  };

  const forwardResults = [...forwardEffects.map((effect) => effect.value), ...saved.values];
  let pending: Message = { values: [], offsets: [], bytes: 0 };
  const built = [build('forward', nodesFor(forwardNodes, forwardResults), forwardEffects, forwardAddress)];
  if (backward !== undefined) {
    const kept = (value: ValueId) => external.get(value) ?? savedAddress.get(value) ?? recomputedAddress.get(value);
    const missing = [...needed].filter((value) => !isKept(value));
    const again = nodesFor(forwardNodes, missing, isKept);
    if (again.length > 0) built.push(build('recompute', again, [], kept));
    const { returning } = backward.messages;
    const returned = addresses(mapValues(returning, storage), 'sentGradients');
    const effects = [...gradientEffects(input, backward.derivative), ...copies(returning, 'sentGradients')];
    const backwardNodes = graph.nodes.slice(numForward);
    const back = nodesFor(backwardNodes, valuesOf(effects));
    checkUpdatedParameters(graph, [...again, ...back], storage);
    if (backward.splitsWeights === true) {
      const split = splitBackward(backwardNodes, returning.values, effects);
      const made = new Set(split.inputNodes.flatMap((node) => node.outputs).map(storage));
      const left = split.leftForWeights.map(storage).filter((value) => made.has(value) && kept(value) === undefined);
      pending = packMessage(graph, [...new Set(left)]);
      const pendingAddress = addresses(pending, 'pending');
      const keptOrPending = (value: ValueId) => kept(value) ?? pendingAddress.get(value);
      const inputAddress = (value: ValueId) => keptOrPending(value) ?? returned.get(value);
      built.push(build('backward', split.inputNodes, split.inputEffects, inputAddress));
      built.push(build('weights', split.weightNodes, split.weightEffects, keptOrPending));
    } else {
      built.push(build('backward', back, effects, (value) => kept(value) ?? returned.get(value)));
    }
  }
  const metrics = sent === undefined ? stage.graph.outputs.map((output) => output.name) : [];
  const results = input.isLast && sent !== undefined ? sent : undefined;
  return {
    programs: built.map(({ program }) => program),
    bytes: {
      constants: constants.totalBytes,
      metrics: metrics.length * 4,
      batch: inputs.bytes,
      received: received.bytes,
      sent: sent?.bytes ?? 0,
      saved: saved.bytes,
      receivedGradients: backward?.messages.arriving.bytes ?? 0,
      sentGradients: backward?.messages.returning.bytes ?? 0,
      scratch: Math.max(...built.map(({ scratchBytes }) => scratchBytes)),
      pending: pending.bytes,
      recomputed: recomputed.bytes,
    },
    inputs: inputs.fields.map(({ value: _, ...plan }) => plan),
    metrics,
    outputs: results === undefined ? [] : outputPlans(stage, graph, results),
    constants: graph.constants.map(({ data }, i) => ({ offset: constants.offsets[i] ?? 0, data })),
  };
}

function placeInputs(stage: Stage): { fields: (InputPlan & { value: ValueId })[]; bytes: number } {
  const fields = stage.graph.inputs.filter((input) => !isReceived(input.name));
  const { offsets, bytes } = packMessage(
    stage.graph,
    fields.map((field) => field.value),
  );
  return {
    bytes,
    fields: fields.map(({ name, value }, i) => {
      const { shape, dtype } = tensorType(stage.graph, value);
      return { name, shape, dtype, offset: offsets[i] ?? 0, value };
    }),
  };
}

function outputValues(stage: Stage): ValueId[] {
  return stage.graph.outputs.map((output) => output.value);
}

function outputPlans(stage: Stage, graph: Graph, results: Message): OutputPlan[] {
  return stage.graph.outputs.map(({ name, value }, i) => {
    const { shape, dtype } = tensorType(graph, value);
    return { name, shape, dtype, offset: results.offsets[i] ?? 0 };
  });
}

function placeMessage(message: Message, space: Space, place: (v: ValueId, s: Space, o: number) => void): void {
  message.values.forEach((value, i) => {
    place(value, space, message.offsets[i] ?? 0);
  });
}

/** First place of each value in a message; a value listed twice is copied to its second place. */
function addresses(message: Message, space: Space): Map<ValueId, Address> {
  const map = new Map<ValueId, Address>();
  placeMessage(message, space, (value, where, offset) => {
    if (!map.has(value)) map.set(value, { space: where, offset });
  });
  return map;
}

function mapValues(message: Message, map: (value: ValueId) => ValueId): Message {
  return { ...message, values: message.values.map(map) };
}

function copies(message: Message, space: Space): Effect[] {
  return message.values.map((value, i) => ({
    kernel: 'MerakAssign',
    value,
    target: { space, offset: message.offsets[i] ?? 0 },
    last: false,
  }));
}

function metricEffects(stage: Stage, graph: Graph): Effect[] {
  return stage.graph.outputs.map(({ name, value }, i): Effect => {
    const { shape, dtype } = tensorType(graph, value);
    if (shape.length !== 0 || dtype !== 'float32') {
      throw new MerakError('plan/invalid', `'${name}' is not a scalar`, {
        path: name,
        expected: 'a float32 scalar',
        received: `${dtype} [${shape.join(', ')}]`,
      });
    }
    return { kernel: 'MerakAccumulate', value, target: { space: 'metrics', offset: 4 * i }, last: false };
  });
}

function gradientEffects(input: LoweringInput, derivative: Derivative): Effect[] {
  return gradientTerms(derivative).flatMap((terms, i): Effect[] => {
    const offset = input.parameters[i]?.gradientOffset ?? -1;
    if (offset < 0) return [];
    const target = { space: 'gradients', offset } as const;
    return terms.map((value) => ({ kernel: 'MerakAccumulate', value, target, last: false }));
  });
}

/** What runs after the forward pass must not read a parameter that forward writes: it would see the new value. */
function checkUpdatedParameters(graph: Graph, later: readonly Node[], storage: (value: ValueId) => ValueId): void {
  const updated = new Map(
    graph.updates.flatMap(({ parameter }) => {
      const target = graph.parameters[parameter];
      return target === undefined ? [] : [[target.value, target.name] as const];
    }),
  );
  for (const node of later) {
    const read = node.inputs.find((value) => updated.has(storage(value)));
    if (read === undefined) continue;
    const name = updated.get(storage(read)) ?? '';
    throw new MerakError('plan/invalid', `${node.kernel} reads '${name}' after the forward pass has written it`, {
      path: node.scope,
      hint: 'train without recomputation',
    });
  }
}

interface SplitBackward {
  readonly inputNodes: readonly Node[];
  readonly inputEffects: readonly Effect[];
  readonly weightNodes: readonly Node[];
  readonly weightEffects: readonly Effect[];
  /** What W reads of what B makes. */
  readonly leftForWeights: readonly ValueId[];
}

/** B: what the gradients to send depend on, and the parameter gradients made on the way. W: the rest. */
function splitBackward(
  nodes: readonly Node[],
  returning: readonly ValueId[],
  effects: readonly Effect[],
): SplitBackward {
  const inputNodes = nodesFor(nodes, returning);
  const made = new Set(inputNodes.flatMap((node) => node.outputs));
  const isReady = ({ value, target }: Effect) => made.has(value) || target.space === 'sentGradients';
  const weightEffects = effects.filter((effect) => !isReady(effect));
  const weightNodes = nodesFor(nodes, valuesOf(weightEffects), (value) => made.has(value));
  const leftForWeights = weightNodes.flatMap((node) => node.inputs).filter((value) => made.has(value));
  return { inputNodes, inputEffects: effects.filter(isReady), weightNodes, weightEffects, leftForWeights };
}

function valuesOf(effects: readonly Effect[]): ValueId[] {
  return effects.map((effect) => effect.value);
}

/** The nodes that the wanted values depend on, as far as they are not there already. */
function nodesFor(
  nodes: readonly Node[],
  wanted: readonly ValueId[],
  isThere: (value: ValueId) => boolean = () => false,
): Node[] {
  const needed = new Set(wanted);
  const kept: Node[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((output) => needed.has(output))) continue;
    kept.push(node);
    for (const input of node.inputs) if (!isThere(input)) needed.add(input);
  }
  return kept.reverse();
}

function sameAddress(a: Address | undefined, b: Address): boolean {
  return a !== undefined && a.space === b.space && a.offset === b.offset;
}
