/** A stage's model chunks as one executable: their programs side by side over spaces that they share. */
import type { LoweredStage } from './lower.js';
import type { Program, ProgramValue, Space } from './plan.js';

/**
 * Constants lie end to end; every other space is shared, because a slot belongs to one micro-batch of one chunk at a time
 * (`bytes`: of the largest). Metrics and results are those of the chunk that ends the model.
 */
export function joinChunks(chunks: readonly LoweredStage[]): LoweredStage {
  const [first] = chunks;
  if (first !== undefined && chunks.length === 1) return first;
  const constantBytes = chunks.map(({ bytes }) => bytes.constants ?? 0);
  const baseOf = (chunk: number) => constantBytes.slice(0, chunk).reduce((sum, bytes) => sum + bytes, 0);
  const bytes: Partial<Record<Space, number>> = {};
  for (const chunk of chunks) {
    for (const [space, size] of Object.entries(chunk.bytes) as [Space, number][]) {
      bytes[space] = Math.max(bytes[space] ?? 0, size);
    }
  }
  return {
    programs: chunks.flatMap(({ programs }, chunk) =>
      programs.map(
        (program): Program => ({
          ...program,
          ...chunkField(chunk),
          values: program.values.map((value) => shifted(value, baseOf(chunk))),
        }),
      ),
    ),
    bytes: { ...bytes, constants: baseOf(chunks.length) },
    inputs: chunks.flatMap(({ inputs }, chunk) => inputs.map((input) => ({ ...input, ...chunkField(chunk) }))),
    metrics: chunks.flatMap(({ metrics }) => metrics),
    outputs: chunks.flatMap(({ outputs }, chunk) => outputs.map((output) => ({ ...output, ...chunkField(chunk) }))),
    constants: chunks.flatMap(({ constants }, chunk) =>
      constants.map(({ offset, data }) => ({ offset: offset + baseOf(chunk), data })),
    ),
  };
}

/** `chunk` where it is not the default. */
export function chunkField(chunk = 0): { readonly chunk?: number } {
  return chunk === 0 ? {} : { chunk };
}

function shifted(value: ProgramValue, constantBase: number): ProgramValue {
  return value.space === 'constants' ? { ...value, offset: value.offset + constantBase } : value;
}
