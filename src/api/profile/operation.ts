/** A node of a recorded step as people know it: kernel, layer, shapes, work. */
import { nodeBytes, nodeFlops } from '../../graph/cost.js';
import type { Executable, Program, ProgramNode, ProgramValue, RankParameter } from '../../plan/plan.js';
import { isProduct } from '../../planner/costs/operatorCosts.js';
import { programGraph } from '../../planner/costs/programSeconds.js';
import type { ProgramKind, Span } from '../../runtime/spans.js';

type NodeSpan = Extract<Span, { readonly kind: 'node' }>;

export interface Operation {
  readonly kernel: string;
  readonly program: ProgramKind;
  /** The layer's name in the model; in functional models, which have none, the parameter read or differentiated; else ''. */
  readonly layer: string;
  /** '[2048,384] f32, [384,1536] f32 -> [2048,1536] f32'. */
  readonly shapes: string;
  /** Of products, convolutions and attention; 0 where operations are not what takes the time. */
  readonly flops: number;
  /** Inputs and outputs, each once. */
  readonly bytes: number;
}

/** Finds a recorded node's description; each is made once. */
export function operationsOf(
  executable: Executable,
  parameters: readonly RankParameter[],
): (span: NodeSpan) => Operation {
  const byProgram = new Map(
    executable.programs.map((program) => {
      const graph = programGraph(program);
      const made: (Operation | undefined)[] = [];
      const describe = (index: number): Operation => {
        const node = program.nodes[index]!;
        return {
          kernel: node.kernel,
          program: program.kind,
          layer: node.scope || parameterOf(program, node, parameters),
          shapes: shapesOf(program, node),
          flops: isProduct(node.kernel) ? nodeFlops(graph, graph.nodes[index]!) : 0,
          bytes: nodeBytes(graph, graph.nodes[index]!),
        };
      };
      return [keyOf(program.kind, program.chunk), (index: number) => (made[index] ??= describe(index))] as const;
    }),
  );
  return ({ program, chunk, index }) => byProgram.get(keyOf(program, chunk))!(index);
}

function keyOf(kind: ProgramKind, chunk = 0): string {
  return `${kind}.${chunk}`;
}

/** The first parameter a node reads, or whose gradient it makes; '' for none. */
function parameterOf(program: Program, node: ProgramNode, parameters: readonly RankParameter[]): string {
  for (const id of [...node.inputs, ...node.outputs]) {
    const { space, offset } = program.values[id]!;
    const found = parameters.find((one) =>
      space === 'parameters' ? one.offset === offset : space === 'gradients' && one.gradientOffset === offset,
    );
    if (found !== undefined) return found.name;
  }
  return '';
}

const DTYPES: Readonly<Record<ProgramValue['dtype'], string>> = {
  float32: 'f32',
  bfloat16: 'bf16',
  float16: 'f16',
  int8: 'i8',
  int32: 'i32',
  bool: 'bool',
};

function shapesOf(program: Program, node: ProgramNode): string {
  const list = (ids: readonly number[]) =>
    ids
      .map((id) => program.values[id]!)
      .map(({ shape, dtype }) => `[${shape.join()}] ${DTYPES[dtype]}`)
      .join(', ');
  return `${list(node.inputs)} -> ${list(node.outputs)}`;
}
