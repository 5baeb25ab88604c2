/** Programs made ready to run: kernels checked, and when each scratch value can be dropped. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import type { Executable, Program, ProgramValue, Space } from '../../plan/plan.js';
import { isCollective } from './collectives.js';

export interface CompiledProgram {
  readonly program: Program;
  /** Per node: scratch values nobody needs after it. */
  readonly dropAfter: readonly (readonly number[])[];
}

/** Kernels the runtime interprets itself. */
const INTERPRETED = new Set(['MerakAccumulate', 'MerakAssign', 'MerakFanOut']);

/** What an instruction finds its program by. */
export function programKey(kind: string, chunk = 0): string {
  return `${kind}.${chunk}`;
}

/** By `programKey`. Raises engine/unsupported naming the first kernel that `backend` lacks. */
export function compile(executable: Executable, backend: string): Map<string, CompiledProgram> {
  return new Map(
    executable.programs.map((program) => [programKey(program.kind, program.chunk), compileProgram(program, backend)]),
  );
}

function compileProgram(program: Program, backend: string): CompiledProgram {
  const lastUse = new Map<number, number>();
  program.nodes.forEach((node, index) => {
    if (!INTERPRETED.has(node.kernel) && !isCollective(node) && tf.getKernel(node.kernel, backend) == null) {
      throw new MerakError('engine/unsupported', `the tfjs backend '${backend}' has no kernel ${node.kernel}`, {
        path: node.scope,
        hint: 'use the native engine or another backend',
      });
    }
    for (const id of [...node.inputs, ...node.outputs])
      if (program.values[id]?.space === 'scratch') lastUse.set(id, index);
  });
  const dropAfter = program.nodes.map((): number[] => []);
  for (const [id, index] of lastUse) dropAfter[index]?.push(id);
  return { program, dropAfter };
}

/** The values that programs of the executable (of one chunk, when given) keep in `space`, one per offset, ascending. */
export function valuesIn(executable: Executable, space: Space, ofChunk?: number): ProgramValue[] {
  const byOffset = new Map<number, ProgramValue>();
  for (const { chunk = 0, values } of executable.programs) {
    if (ofChunk !== undefined && chunk !== ofChunk) continue;
    for (const value of values)
      if (value.space === space && !byOffset.has(value.offset)) byOffset.set(value.offset, value);
  }
  return [...byOffset.values()].sort((a, b) => a.offset - b.offset);
}
