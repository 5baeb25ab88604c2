/** Plays a rank's instruction list on a memory of bytes that only remembers who wrote what, and reports every misread. */
import { valueBytes } from '../../src/graph/cost.js';
import { spaceBytes } from '../../src/plan/memory.js';
import type { Executable, Program, ProgramValue, RankPlan, Slots, Space } from '../../src/plan/plan.js';
import { asGraphValue } from '../../src/plan/programValue.js';

const VIEWS = new Set(['Reshape', 'Identity', 'ExpandDims']);

interface Write {
  readonly start: number;
  readonly end: number;
  readonly token: number;
}

/** One problem per line; empty when every read finds, whole, what its own value was last given. */
export function misreads(rank: RankPlan, executable: Executable): string[] {
  const problems: string[] = [];
  const arenas = { persistent: [] as Write[], working: [] as Write[] };
  const limits = { persistent: rank.persistentBytes, working: executable.arenaBytes };
  const spaces = new Map([...rank.persistentSpaces, ...executable.spaces].map((plan) => [plan.space, plan]));
  const persistent = new Set<Space>(rank.persistentSpaces.map(({ space }) => space));
  let numTokens = 0;

  const region = (value: ProgramValue, slot: number) => {
    const { space, offset } = value;
    const plan = spaces.get(space);
    const bytes = valueBytes(asGraphValue(value));
    if (plan === undefined || offset + bytes > (plan.slotBytes[Math.max(slot, 0)] ?? 0)) {
      problems.push(`${space}[${slot}]+${offset} of ${bytes} bytes is outside its space`);
      return { arena: 'working', start: 0, end: 0 } as const;
    }
    const start = plan.base + spaceBytes({ slotBytes: plan.slotBytes.slice(0, Math.max(slot, 0)) }) + offset;
    const arena = persistent.has(space) ? 'persistent' : 'working';
    if (start + bytes > limits[arena]) problems.push(`${space}[${slot}]+${offset} is outside its arena`);
    return { arena, start, end: start + bytes } as const;
  };
  const write = (value: ProgramValue, slot: number, token = ++numTokens): number => {
    const { arena, start, end } = region(value, slot);
    arenas[arena] = arenas[arena].filter((other) => other.end <= start || end <= other.start);
    arenas[arena].push({ start, end, token });
    return token;
  };
  const read = (value: ProgramValue, slot: number): number | undefined => {
    const { arena, start, end } = region(value, slot);
    return arenas[arena].find((other) => other.start === start && other.end === end)?.token;
  };
  /** Writes what the programs (of one chunk, when given) know to lie in a slot. */
  const fill = (space: Space, slot: number, chunk?: number) => {
    const seen = new Set<number>();
    for (const program of executable.programs) {
      if (chunk !== undefined && (program.chunk ?? 0) !== chunk) continue;
      for (const value of program.values) {
        if (value.space !== space || seen.has(value.offset)) continue;
        seen.add(value.offset);
        write(value, slot);
      }
    }
  };
  const run = (program: Program, slots: Slots) => {
    const slotOf = (space: Space) => (space in slots ? slots[space as keyof Slots] : 0);
    const given = new Map<number, number>();
    for (const node of program.nodes) {
      const tokens = node.inputs.map((id) => {
        const value = program.values[id]!;
        const token = read(value, slotOf(value.space));
        const expected = value.space === 'scratch' ? given.get(id) : token;
        if (token === undefined || token !== expected) {
          problems.push(`${program.kind}: ${node.kernel} finds ${value.space}+${value.offset} overwritten`);
        }
        return token;
      });
      node.outputs.forEach((id) => {
        const value = program.values[id]!;
        const isView = VIEWS.has(node.kernel) && read(value, slotOf(value.space)) === tokens[0];
        given.set(id, isView ? tokens[0]! : write(value, slotOf(value.space)));
        // Outputs must not touch the inputs of their own node.
        if (!isView && node.kernel !== 'MerakAccumulate') {
          node.inputs.forEach((input, i) => {
            const from = program.values[input]!;
            if (read(from, slotOf(from.space)) !== tokens[i]) problems.push(`${node.kernel} writes over its input`);
          });
        }
      });
    }
  };

  for (const space of ['parameters', 'constants'] as const) fill(space, 0);
  const programs = new Map(executable.programs.map((program) => [`${program.kind}.${program.chunk ?? 0}`, program]));
  for (const instruction of executable.schedule) {
    switch (instruction.kind) {
      case 'zero':
        for (const space of ['gradients', 'metrics'] as const) if (spaces.has(space)) fill(space, 0);
        break;
      case 'load':
        fill('batch', instruction.slot, instruction.chunk ?? 0);
        break;
      case 'receive':
        fill(
          instruction.what === 'activation' ? 'received' : 'receivedGradients',
          instruction.slot,
          instruction.chunk ?? 0,
        );
        break;
      case 'handOver': {
        const { what, chunk = 0, to } = instruction;
        if (what === 'activation') fill('received', to, chunk + 1);
        else fill('receivedGradients', to, chunk - 1);
        break;
      }
      case 'forward':
      case 'recompute':
      case 'backward':
      case 'weights':
        run(programs.get(`${instruction.kind}.${instruction.chunk ?? 0}`)!, instruction.slots);
        break;
    }
  }
  return problems;
}
