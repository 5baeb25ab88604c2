/** Element-by-element kernels, with numpy broadcasting: every output dim is a factor of its own. */
import { type DimFactors, FactorList, type NodeShapes, type RuleMaker } from '../rule.js';

/** f(0) = 0 with a finite derivative there, and linear: padding stays zero and partial sums pass through. */
const LINEAR_UNARY = ['Identity', 'Neg', 'Cast', 'ZerosLike', 'Real'];

/** f(0) = 0 with a finite derivative there: padding stays zero. */
const ZERO_AT_ZERO = ['Relu', 'Relu6', 'Tanh', 'Elu', 'Selu', 'LeakyRelu', 'Square', 'Sin', 'Erf', 'MerakGelu'];

const OTHER_UNARY = [
  'Abs',
  'Acos',
  'Acosh',
  'Asin',
  'Asinh',
  'Atan',
  'Atanh',
  'Ceil',
  'ClipByValue',
  'Cos',
  'Cosh',
  'Exp',
  'Expm1',
  'Floor',
  'IsFinite',
  'IsInf',
  'IsNan',
  'Log',
  'Log1p',
  'LogicalNot',
  'OnesLike',
  'Reciprocal',
  'Round',
  'Rsqrt',
  'Sigmoid',
  'Sign',
  'Sinh',
  'Softplus',
  'Sqrt',
  'Step',
  'Tan',
];

const OTHER_BINARY = [
  'Atan2',
  'EluGrad',
  'Equal',
  'FloorDiv',
  'Greater',
  'GreaterEqual',
  'Less',
  'LessEqual',
  'LogicalAnd',
  'LogicalOr',
  'LogicalXor',
  'Maximum',
  'Minimum',
  'Mod',
  'NotEqual',
  'Pow',
  'Prelu',
  'SquaredDifference',
  'BitwiseAnd',
  'MerakGeluGrad',
];

interface Behaviour {
  readonly keepsZeros: boolean;
  readonly linear: readonly (readonly number[])[];
}

/** A rule for a kernel whose only output broadcasts its inputs. */
function elementwise({ keepsZeros, linear }: Behaviour): RuleMaker {
  return (_node, shapes) => {
    const list = new FactorList();
    const output = (shapes.outputs[0] ?? []).map((size) => list.parallel(size, keepsZeros ? 'kept' : 'never'));
    return {
      factors: list.factors,
      inputs: shapes.inputs.map((shape) => broadcastFactors(shape, shapes.outputs[0] ?? [], output)),
      outputs: [output.map((factor) => [factor])],
      linear,
    };
  };
}

/** Factors of an operand that broadcasts to `target`, whose dim d is factor `targetFactors[d]`: dims align at the end. */
export function broadcastFactors(
  shape: readonly number[],
  target: readonly number[],
  targetFactors: readonly number[],
): DimFactors {
  const offset = target.length - shape.length;
  return shape.map((size, dim) => {
    const factor = targetFactors[dim + offset];
    return factor !== undefined && size === target[dim + offset] ? [factor] : [];
  });
}

/** All the addends together, or none, may be partial. */
const addition: RuleMaker = (node, shapes) => {
  const everyInput = shapes.inputs.map((_, input) => input);
  // Zero plus a broadcast non-zero is not zero: every addend that is not broadcast must be padded alike.
  const keepsZeros = shapes.inputs.every((shape) => lastDimsMatch(shape, shapes));
  return elementwise({ keepsZeros, linear: [everyInput] })(node, shapes);
};

function lastDimsMatch(shape: readonly number[], shapes: NodeShapes): boolean {
  const target = shapes.outputs[0] ?? [];
  return shape.every((size, dim) => size === target[dim + target.length - shape.length]) && shape.length > 0;
}

export const ELEMENTWISE_RULES: ReadonlyMap<string, RuleMaker> = new Map<string, RuleMaker>([
  ...LINEAR_UNARY.map((kernel): [string, RuleMaker] => [kernel, elementwise({ keepsZeros: true, linear: [[0]] })]),
  ...ZERO_AT_ZERO.map((kernel): [string, RuleMaker] => [kernel, elementwise({ keepsZeros: true, linear: [] })]),
  ...OTHER_UNARY.map((kernel): [string, RuleMaker] => [kernel, elementwise({ keepsZeros: false, linear: [] })]),
  ...OTHER_BINARY.map((kernel): [string, RuleMaker] => [kernel, elementwise({ keepsZeros: false, linear: [] })]),
  ['Add', addition],
  ['AddN', addition],
  ['Sub', addition],
  ['Multiply', elementwise({ keepsZeros: true, linear: [[0], [1]] })],
  ['RealDiv', elementwise({ keepsZeros: false, linear: [[0]] })],
  ['Select', elementwise({ keepsZeros: false, linear: [[1, 2]] })],
]);
