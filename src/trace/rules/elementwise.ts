/** Shape rules of kernels that work element by element, with broadcasting where tfjs broadcasts. */
import { stringAttr } from '../../graph/attrs.js';
import type { DType } from '../../graph/graph.js';
import { broadcast, each, like, listed, need, type Rules, type ShapeRule, spec, toDType, upcast } from './rule.js';

const SAME_AS_X = [
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
  'Elu',
  'Erf',
  'Expm1',
  'Floor',
  'Identity',
  'Log',
  'Log1p',
  'Neg',
  'OnesLike',
  'Reciprocal',
  'Relu',
  'Relu6',
  'Round',
  'Rsqrt',
  'Selu',
  'Sigmoid',
  'Sign',
  'Sin',
  'Sinh',
  'Softplus',
  'Sqrt',
  'Square',
  'Step',
  'Tan',
  'Tanh',
  'ZerosLike',
];

const ARITHMETIC = [
  'Add',
  'Atan2',
  'BitwiseAnd',
  'Maximum',
  'Minimum',
  'Mod',
  'Multiply',
  'Pow',
  'RealDiv',
  'SquaredDifference',
  'Sub',
];

const COMPARISONS = [
  'Equal',
  'Greater',
  'GreaterEqual',
  'Less',
  'LessEqual',
  'LogicalAnd',
  'LogicalOr',
  'LogicalXor',
  'NotEqual',
];

/** tfjs casts both operands to one dtype before the kernel; `dtype` overrides it. */
function binary(a: string, b: string, dtype?: DType): ShapeRule {
  return (inputs) => {
    const left = need(inputs, a);
    return spec(broadcast(left.shape, need(inputs, b).shape), dtype ?? left.dtype);
  };
}

export const elementwiseRules: Rules = {
  ...each(SAME_AS_X, like('x')),
  ...each(['IsFinite', 'IsInf', 'IsNan', 'LogicalNot'], like('x', 'bool')),
  ...each(ARITHMETIC, binary('a', 'b')),
  ...each(COMPARISONS, binary('a', 'b', 'bool')),
  // tfjs's kernels give float32 whatever they are given.
  ...each(['Exp', 'LeakyRelu'], like('x', 'float32')),
  FloorDiv: binary('a', 'b', 'int32'),
  Prelu: binary('x', 'alpha', 'float32'),
  EluGrad: like('y', 'float32'),
  Cast: (inputs, attrs) => spec(need(inputs, 'x').shape, toDType(stringAttr(attrs, 'dtype'))),
  Select: (inputs) => {
    const then = need(inputs, 't');
    return spec(then.shape, upcast(then.dtype, need(inputs, 'e').dtype));
  },
  AddN: (inputs) => {
    const terms = listed(inputs);
    return spec(terms.map((term) => term.shape).reduce(broadcast), terms.map((term) => term.dtype).reduce(upcast));
  },
};
