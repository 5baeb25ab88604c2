/** Traces small models and runs plans in this process, one device per rank. */
import type * as tf from '@tensorflow/tfjs';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import type { Plan } from '../../src/plan/plan.js';
import { buildPlan, type PlanInput } from '../../src/planner/buildPlan.js';
import type { ArenaHandle, Device, HostArray, StepResult } from '../../src/runtime/device.js';
import { localCommunicators } from '../../src/runtime/localCommunicator.js';
import { NativeDevice } from '../../src/runtime/native/device.js';
import { TfjsDevice } from '../../src/runtime/tfjs/device.js';
import { mergeParameter, sliceParameter } from '../../src/tensorparallel/shards.js';
import type { FieldSpec, TraceMode, UserModel } from '../../src/trace/model.js';
import { traceModel } from '../../src/trace/trace.js';

export interface TracedModel {
  readonly train: PlanInput['train'];
  readonly evaluate: PlanInput['train'];
  readonly predict?: PlanInput['train'];
  /** Initial values by parameter name. */
  readonly values: ReadonlyMap<string, Float32Array>;
}

export function traced(
  model: UserModel,
  fields: readonly FieldSpec[],
  microBatch: number,
  predicts = false,
): TracedModel {
  const values = new Map<string, Float32Array>();
  const graphOf = (mode: TraceMode, some: readonly FieldSpec[]) => {
    const { graph, variables } = traceModel(model, mode, some, microBatch);
    for (const [index, { name }] of graph.parameters.entries()) {
      values.set(name, variables[index]!.dataSync().slice() as Float32Array);
    }
    return optimizeGraph(graph);
  };
  const train = graphOf('train', fields);
  const evaluate = graphOf('evaluate', fields);
  return predicts
    ? { train, evaluate, predict: graphOf('predict', fields.slice(0, 1)), values }
    : { train, evaluate, values };
}

export interface Cluster {
  readonly plan: Plan;
  /** By rank. */
  readonly devices: readonly Device[];
  /** Runs on every rank; `inputs` maps a field to the data of the whole batch. Results by rank. */
  run(
    executable: string,
    step: number,
    inputs: ReadonlyMap<string, HostArray>,
    learningRate?: number,
  ): Promise<StepResult[]>;
  /** Logical parameters, merged from the shards of the first stage that holds each. */
  parameters(): Promise<Map<string, Float32Array>>;
  close(): void;
}

export async function startPlan(
  input: PlanInput,
  values: ReadonlyMap<string, Float32Array>,
  runtime: 'tfjs' | 'native' = 'tfjs',
): Promise<Cluster> {
  const plan = buildPlan(input);
  const communicators = localCommunicators(plan.ranks.length);
  const devices = plan.ranks.map(
    (_, rank): Device =>
      runtime === 'native' ? new NativeDevice() : new TfjsDevice({ communicator: communicators[rank]! }),
  );
  const handles: ArenaHandle[] = [];
  await Promise.all(
    plan.ranks.map(async (rank, index) => {
      const device = devices[index]!;
      handles.push(...(await device.open(rank)));
      for (const executable of rank.executables) handles.push(...(await device.load(executable)));
      for (const [at, { parameter }] of rank.parameters.entries()) {
        const { name, shape, layout } = plan.parameters[parameter]!;
        await device.write(
          at,
          'value',
          sliceParameter(values.get(name)!, shape, layout, plan.mesh.tp, rank.coordinates.tp),
        );
      }
    }),
  );
  for (const device of devices) await device.connect(handles);
  return {
    plan,
    devices,
    run: (executable, step, inputs, learningRate = 0.05) =>
      Promise.all(
        devices.map((device, rank) => {
          const { dp } = plan.ranks[rank]!.coordinates;
          const mine = new Map([...inputs].map(([name, data]) => [name, shareOf(data, plan.mesh.dp, dp)]));
          return device.run(executable, { step, seed: 3, learningRate, inputs: mine, timeoutSeconds: 60 });
        }),
      ),
    async parameters() {
      const merged = new Map<string, Float32Array>();
      for (const [index, { name, shape, layout, stages }] of plan.parameters.entries()) {
        const shards: Float32Array[] = [];
        for (let tp = 0; tp < plan.mesh.tp; tp++) {
          const rank = plan.ranks.findIndex(
            ({ coordinates: c }) => c.pp === stages.at(-1) && c.dp === 0 && c.tp === tp,
          );
          const at = plan.ranks[rank]!.parameters.findIndex(({ parameter }) => parameter === index);
          shards.push((await devices[rank]!.read(at, 'value')) as Float32Array);
        }
        merged.set(name, layout.kind === 'replicate' ? shards[0]! : mergeParameter(shards, shape, layout));
      }
      return merged;
    },
    close() {
      for (const device of devices) device.close();
    },
  };
}

/** Of the ranks where the model ends. */
export function lossOf(results: readonly StepResult[]): number {
  return results.map(({ metrics }) => metrics.loss).findLast((loss) => loss !== undefined)!;
}

function shareOf(data: HostArray, numReplicas: number, replica: number): HostArray {
  const size = data.length / numReplicas;
  return data.slice(replica * size, (replica + 1) * size);
}

export function maxDifference(a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>): number {
  let worst = 0;
  for (const [name, values] of a) {
    const other = b.get(name)!;
    for (let i = 0; i < values.length; i++) worst = Math.max(worst, Math.abs(values[i]! - other[i]!));
  }
  return worst;
}

/** Tokens with something to learn, the same for every layout. */
export function tokenBatch(batch: number, length: number, vocabulary: number): Map<string, HostArray> {
  const tokens = Int32Array.from({ length: batch * length }, (_, i) => (i * i * 7 + 3 * i + 1) % vocabulary);
  return new Map([
    ['tokens', tokens],
    ['targets', tokens.map((token) => (token * 5 + 2) % vocabulary)],
  ]);
}

export function disposeModel(model: { readonly variables: readonly tf.Variable[] }): void {
  for (const variable of model.variables) variable.dispose();
}
