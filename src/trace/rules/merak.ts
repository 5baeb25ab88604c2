/** Shape rules of Merak's own kernels; docs/kernels.md. */
import { numberAttr, numbersAttr } from '../../graph/attrs.js';
import { each, like, need, type Rules, spec } from './rule.js';

export const merakRules: Rules = {
  MerakAttention: (inputs) => {
    const q = need(inputs, 'q');
    const [batch = 1, queries = 1, heads = 1] = q.shape;
    return [q, spec([batch, heads, queries], 'float32')];
  },
  MerakAttentionGrad: (inputs) => [need(inputs, 'q'), need(inputs, 'k'), need(inputs, 'v')],
  MerakPackedAttention: (_, attrs) => {
    const headShape = numbersAttr(attrs, 'headShape');
    const [batch = 1, queries = 1, heads = 1] = headShape;
    return [spec(headShape, 'float32'), spec([batch, heads, queries], 'float32')];
  },
  MerakPackedAttentionGrad: like('qkv'),
  MerakColumnSum: (inputs) => spec([need(inputs, 'x').shape.at(-1) ?? 1], 'float32'),
  MerakProduct: (_, attrs) => {
    const whole = spec(numbersAttr(attrs, 'outputShape'), 'float32');
    return attrs.activatedShape === undefined ? whole : [whole, spec(numbersAttr(attrs, 'activatedShape'), 'float32')];
  },
  MerakLayerNorm: (inputs) => {
    const x = need(inputs, 'x');
    const statistics = spec(x.shape.slice(0, -1), 'float32');
    return [x, statistics, statistics];
  },
  MerakLayerNormGrad: (inputs) => {
    const gamma = need(inputs, 'gamma');
    return [need(inputs, 'x'), gamma, gamma];
  },
  MerakBatchNorm: (inputs) => {
    const gamma = need(inputs, 'gamma');
    return [need(inputs, 'x'), gamma, gamma];
  },
  MerakBatchNormGrad: (inputs, attrs) => {
    const [x, gamma] = [need(inputs, 'x'), need(inputs, 'gamma')];
    return attrs.residual === true ? [x, gamma, gamma, x] : [x, gamma, gamma];
  },
  ...each(['MerakGelu', 'MerakGeluGrad', 'MerakDropout', 'MerakAllReduce', 'MerakFanOut'], like('x')),
  ...each(['MerakAllReduceStart', 'MerakWait'], like('x')),
  MerakQuantise: like('x', 'int32'),
  MerakQuantisedMatMul: (inputs, attrs) => {
    const shape = [...need(inputs, 'a').shape.slice(0, -1), need(inputs, 'b').shape.at(-1) ?? 1];
    return spec(shape, attrs.outputScale === undefined ? 'float32' : 'int32');
  },
  MerakSoftmaxCrossEntropy: (inputs) => {
    const rows = spec(need(inputs, 'logits').shape.slice(0, -1), 'float32');
    return [rows, rows];
  },
  MerakSoftmaxCrossEntropyGrad: like('logits'),
  MerakShardedCrossEntropy: (inputs) => {
    const rows = spec(need(inputs, 'logits').shape.slice(0, -1), 'float32');
    return [rows, rows];
  },
  MerakVocabParallelCrossEntropy: (inputs) => {
    const rows = spec(need(inputs, 'logits').shape.slice(0, -1), 'float32');
    return [rows, rows];
  },
  MerakEmbedding: (inputs) => {
    const table = need(inputs, 'table');
    return spec([...need(inputs, 'ids').shape, table.shape[1] ?? 1], table.dtype);
  },
  MerakEmbeddingGrad: (inputs, attrs) => {
    const dy = need(inputs, 'dy');
    return spec([numberAttr(attrs, 'vocabSize'), dy.shape.at(-1) ?? 1], dy.dtype);
  },
  MerakRandom: (_, attrs) => spec(numbersAttr(attrs, 'shape'), 'float32'),
  ...each(['MerakAllGather', 'MerakAllGatherStart'], (inputs, attrs) => {
    const x = need(inputs, 'x');
    const dim = numberAttr(attrs, 'dim');
    return spec(
      x.shape.map((size, index) => (index === dim ? numberAttr(attrs, 'size') : size)),
      x.dtype,
    );
  }),
  ...each(['MerakShard', 'MerakReduceScatter', 'MerakReduceScatterStart'], (inputs, attrs) => {
    const x = need(inputs, 'x');
    const dim = numberAttr(attrs, 'dim');
    const local = numberAttr(attrs, 'paddedSize') / numberAttr(attrs, 'degree');
    return spec(
      x.shape.map((size, index) => (index === dim ? local : size)),
      x.dtype,
    );
  }),
};
