// What `check-cuda` compiles: each CUDA source with the macros that the host side may give it, and nodes whose generated chains stand for
// all. Spilled registers are none but where `spills` gives bytes: there more rows in registers are worth a few of them.
const attention = (DEPTH, ROW_TILES, KEYS, more = {}) => ({
  source: 'attention',
  macros: { T: 'bf16', OUT: 'bf16', DEPTH, ROW_TILES, KEYS, CAUSAL: 1, MASKED: 0, ...more },
});
const attentionGradient = (ROWS_ARE_KEYS, DEPTH, ROW_TILES, COLUMNS, more = {}, spills = 0) => ({
  source: 'attention_grad',
  macros: { T: 'bf16', OUT: 'bf16', ROWS_ARE_KEYS, DEPTH, ROW_TILES, COLUMNS, CAUSAL: 1, MASKED: 0, ...more },
  spills,
});
const layerNorm = (THREADS, VECTOR, PER, Y, DY) => ({ source: 'layer_norm', macros: { THREADS, VECTOR, PER, Y, DY } });

export const variants = [
  attention(64, 2, 64),
  attention(64, 2, 64, { T: 'f16', OUT: 'float', CAUSAL: 0, MASKED: 1 }),
  attention(128, 2, 32),
  attention(32, 2, 64, { MASKED: 1 }),
  attentionGradient(1, 64, 1, 64),
  attentionGradient(0, 64, 2, 32, { T: 'f16', MASKED: 1 }),
  attentionGradient(0, 64, 2, 32),
  attentionGradient(1, 128, 1, 32, {}, 32),
  attentionGradient(0, 128, 1, 32),
  { source: 'attention_delta', macros: { DY: 'bf16', OUT: 'bf16', T: 'bf16' } },
  { source: 'attention_delta', macros: { DY: 'f16', OUT: 'f16', T: 'f16' } },
  { source: 'attention_delta', macros: { DY: 'float', OUT: 'float', T: 'bf16' } },
  { source: 'plain_attention', macros: { Q: 'float', DY: 'float', OUT: 'float', GRADIENT: 'float', DEPTH: 64 } },
  {
    source: 'plain_attention',
    macros: { Q: 'bf16', DY: 'float', OUT: 'bf16', GRADIENT: 'bf16', DEPTH: 20 },
    spills: 16,
  },
  layerNorm(32, 4, 6, 'bf16', 'bf16'),
  layerNorm(256, 4, 2, 'bf16', 'bf16'),
  layerNorm(32, 4, 6, 'f16', 'f16'),
  layerNorm(32, 1, 3, 'float', 'float'),
  { source: 'gelu', macros: { X: 'bf16', DY: 'bf16', Y: 'bf16', TANH: 1 } },
  { source: 'gelu', macros: { X: 'f16', DY: 'f16', Y: 'f16', TANH: 1 } },
  { source: 'gelu', macros: { X: 'float', DY: 'float', Y: 'float', TANH: 0 } },
  { source: 'column_sum', macros: { X: 'bf16', VECTOR: 4 } },
  { source: 'column_sum', macros: { X: 'f16', VECTOR: 4 } },
  { source: 'column_sum', macros: { X: 'float', VECTOR: 1 } },
  { source: 'cross_entropy', macros: {} },
  { source: 'embedding', macros: {} },
  { source: 'random', macros: {} },
  ...['u8', 'u16', 'u32', 'uint2', 'uint4'].map((ELEMENT) => ({ source: 'copy', macros: { ELEMENT } })),
  { source: 'convert', macros: { FROM: 'float', TO: 'bf16' } },
  { source: 'convert', macros: { FROM: 'float', TO: 'f16' } },
  { source: 'convert', macros: { FROM: 'float', TO: 'float' } },
  { source: 'finish', macros: { OUT: 'bf16', POINT: 'bf16', ACTIVATED: 'bf16', GELU: 1, VECTOR: 4 } },
  { source: 'finish', macros: { OUT: 'f16', POINT: 'f16', ACTIVATED: 'f16', GELU: 1, VECTOR: 4 } },
  { source: 'finish', macros: { OUT: 'float', POINT: 'float', ACTIVATED: 'float', GELU: 2, VECTOR: 1 } },
  { source: 'finish', macros: { OUT: 'float', POINT: 'float', ACTIVATED: 'float', GELU: 0, VECTOR: 4 } },
  { source: 'reduce', macros: { X: 'float', Y: 'float', WORK: 'float', OP: 'op_Sum', IDENTITY: '0' } },
  { source: 'reduce', macros: { X: 'i32', Y: 'i32', WORK: 'double', OP: 'op_Max', IDENTITY: '-MERAK_INFINITY' } },
  ...[0, 1, 2].map((DIRECTION) => ({ source: 'conv', macros: { DIRECTION } })),
  { source: 'depthwise', macros: {} },
  { source: 'pool', macros: { X: 'float', Y: 'float', LAST: 1 } },
  { source: 'pool', macros: { X: 'i32', Y: 'float', LAST: 0 } },
  { source: 'scatter', macros: { ELEMENT: 'float' } },
  { source: 'scatter', macros: { ELEMENT: 'u8' } },
  { source: 'gather', macros: { ELEMENT: 'u32' } },
  { source: 'scan', macros: { X: 'float', Y: 'float', WRAPS: 0 } },
  { source: 'scan', macros: { X: 'i32', Y: 'i32', WRAPS: 1 } },
  { source: 'generate', macros: { Y: 'float', LEFT: 'i32', RIGHT: 'float' } },
  { source: 'resize', macros: { BILINEAR: 1 } },
  { source: 'resize', macros: { BILINEAR: 0 } },
  { source: 'integer_product', macros: { TRANSPOSE_A: 0, TRANSPOSE_B: 1 } },
  { source: 'softmax', macros: { LOGARITHM: 0 } },
  { source: 'softmax', macros: { LOGARITHM: 1 } },
  ...[0, 1, 2, 3].map((KIND) => ({ source: 'optimizer', macros: { KIND, NESTEROV: 1, CENTERED: 1 } })),
];

const float = (...shape) => ({ shape, dtype: 'float32' });
const chain = (kernel, inputs, output, attrs = {}) => ({
  kernel,
  inputs: Object.values(inputs),
  inputNames: Object.keys(inputs),
  outputs: [output],
  attrs,
});
/** A row added, a column multiplied, transcendental functions, integers, a fused chain. */
export const chains = [
  chain('Add', { a: float(64, 96), b: float(96) }, float(64, 96)),
  chain('Multiply', { a: float(8, 5, 7), b: float(8, 1, 7) }, float(8, 5, 7)),
  chain('Mod', { a: float(33), b: float(33) }, float(33)),
  chain('Softplus', { x: float(100) }, float(100)),
  chain('Cast', { x: float(10) }, { shape: [10], dtype: 'int32' }),
  chain('FusedBatchNorm', { x: float(6, 5, 8), mean: float(8), variance: float(8), scale: float(8) }, float(6, 5, 8)),
  chain('MerakFused', { a: float(16, 32), b: float(32), c: float(16, 32) }, float(16, 32), {
    kernels: ['Add', 'Tanh', 'Multiply', 'ClipByValue'],
    operands: [0, 1, 3, 4, 2, 5],
    counts: [2, 1, 2, 1],
    numbers: [-1, 1],
    numberCounts: [0, 0, 0, 2],
  }),
];
