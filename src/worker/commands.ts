/** What each command of the coordinator does to the device, and how it is answered. */
import { arraysFromWire, bytesOfDoubles, chunkAssembler, chunksOf, wireTensors } from '../coordinator/arrays.js';
import type { Command, ReplyBody, Run } from '../coordinator/messages.js';
import { MerakError } from '../errors.js';
import type { Executable } from '../plan/plan.js';
import { decodeRankPlan } from '../plan/serialize.js';
import type { ArenaHandle, Device, StepInput } from '../runtime/device.js';

export interface CommandRunner {
  /** When a command has come, before its turn: the batch of a step may be copied while others run. */
  arrive(command: Command): void;
  run(command: Command, reply: (body: ReplyBody) => void): Promise<void>;
}

/** Runs one command at a time on `device`; the caller keeps the order. A command may reply several times or not at all. */
export function commandRunner(device: Device): CommandRunner {
  const incoming = new Map<number, ReturnType<typeof chunkAssembler>>();
  /** Of announced steps. */
  const inputs = new Map<number, StepInput>();

  const load = async (executables: readonly Executable[]): Promise<ArenaHandle[]> => {
    const handles: ArenaHandle[] = [];
    for (const executable of executables) handles.push(...(await device.load(executable)));
    return handles;
  };

  const arrive = (command: Command): void => {
    if (command.kind !== 'run' || device.announce === undefined) return;
    const input = inputOf(command.run);
    inputs.set(command.id, input);
    device.announce(command.run.executable, input);
  };

  const run = async (command: Command, reply: (body: ReplyBody) => void): Promise<void> => {
    switch (command.kind) {
      case 'open': {
        const plan = decodeRankPlan(command.open);
        const handles = await device.open(plan);
        return reply({ kind: 'handles', handles: { handles: [...handles, ...(await load(plan.executables))] } });
      }
      case 'load':
        return reply({ kind: 'handles', handles: { handles: await load(decodeRankPlan(command.load).executables) } });
      case 'connect':
        await device.connect(command.connect.handles);
        return reply({ kind: 'done', done: {} });
      case 'write': {
        const assembler = incoming.get(command.id) ?? chunkAssembler();
        incoming.set(command.id, assembler);
        const data = assembler.add(command.write);
        if (data === undefined) return;
        incoming.delete(command.id);
        await device.write(command.write.index, kindOf(command.write.moment), data);
        return reply({ kind: 'done', done: {} });
      }
      case 'read': {
        const { index, moment } = command.read;
        const data = await device.read(index, kindOf(moment));
        for (const parameter of chunksOf(index, moment, data)) reply({ kind: 'parameter', parameter });
        return;
      }
      case 'setUpdates':
        device.setUpdates(command.setUpdates.updates, command.setUpdates.lossScaling ?? undefined);
        return reply({ kind: 'done', done: {} });
      case 'run': {
        const input = inputs.get(command.id) ?? inputOf(command.run);
        inputs.delete(command.id);
        const { outputs, spans = new Float64Array(0), ...result } = await device.run(command.run.executable, input);
        const wired = { ...result, outputs: wireTensors(outputs), spans: bytesOfDoubles(spans) };
        return reply({ kind: 'result', result: wired });
      }
      case 'measure':
        return reply({ kind: 'measured', measured: { bytes: device.measuredBytes() } });
      case 'shutdown':
        device.close();
        return reply({ kind: 'done', done: {} });
      default:
        throw new MerakError('coordinator/protocol', 'a command of an unknown kind arrived');
    }
  };
  return { arrive, run };
}

function inputOf({ step, seed, learningRate, timeoutSeconds, inputs, record }: Run): StepInput {
  return { step, seed, learningRate, timeoutSeconds, inputs: arraysFromWire(inputs), record };
}

function kindOf(moment: number): 'value' | number {
  return moment === -1 ? 'value' : moment;
}
