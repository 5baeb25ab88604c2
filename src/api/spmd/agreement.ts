/** Shards are traced apart, but must meet: what they exchange has to be the same, in the same order, on all of them. */
import { MerakError } from '../../errors.js';
import type { Executable, Program, ProgramNode } from '../../plan/plan.js';

const MEETINGS: ReadonlySet<string> = new Set(['MerakAllReduce', 'MerakAllGather', 'MerakReduceScatter']);

/** Raises trace/model where the collectives of two ranks differ: run like that, each would wait for the other. */
export function checkAgreement(executables: readonly Executable[]): void {
  const lists = executables.map(({ programs }) => programs.flatMap(collectivesOf));
  const [first = []] = lists;
  for (const [rank, list] of lists.entries()) {
    const length = Math.max(first.length, list.length);
    for (let index = 0; index < length; index++) {
      if (first[index]?.description === list[index]?.description) continue;
      const scope = list[index]?.scope ?? first[index]?.scope ?? '';
      throw new MerakError('trace/model', `shards 0 and ${rank} differ in their collective ${index}`, {
        ...(scope === '' ? {} : { path: scope }),
        expected: `${first[index]?.description ?? 'none'} (shard 0)`,
        received: `${list[index]?.description ?? 'none'} (shard ${rank})`,
        hint: 'call the same collectives on every shard, whatever axisIndex() is; give `size` to an allGather of uneven rows',
      });
    }
  }
}

function collectivesOf(program: Program): { description: string; scope: string }[] {
  return program.nodes
    .filter(({ kernel }) => MEETINGS.has(kernel))
    .map((node) => ({ description: describe(program, node), scope: node.scope }));
}

function describe({ values }: Program, { kernel, attrs, inputs }: ProgramNode): string {
  const { shape, dtype } = values[inputs[0]!]!;
  const details = ['op', 'dim', 'size'].flatMap((name) => (name in attrs ? [`${name} ${String(attrs[name])}`] : []));
  return `${kernel} of ${dtype} [${shape.join(', ')}]${details.length > 0 ? `, ${details.join(', ')}` : ''}`;
}
