/** Plans through protobuf and back: every field, every kind, to the bit. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MerakError } from '../../src/errors.js';
import type { Attr } from '../../src/graph/graph.js';
import type { Executable, Instruction, OptimizerPlan, ParameterPlan, Plan, RankPlan } from '../../src/plan/plan.js';
import { PERSISTENT_SPACES, WORKING_SPACES } from '../../src/plan/plan.js';
import { decodePlan, decodeRankPlan, encodePlan, encodeRankPlan } from '../../src/plan/serialize.js';

const small = fc.nat(100_000);
const bytes = fc.nat(Number.MAX_SAFE_INTEGER);
const double = fc.double();
const list = <T>(item: fc.Arbitrary<T>) => fc.array(item, { maxLength: 3 });
const dtype = fc.constantFrom('float32', 'int32', 'bool');
const shape = list(bytes);
const slot = fc.integer({ min: -1, max: 1000 });
const working = fc.constantFrom(...WORKING_SPACES);
const space = fc.constantFrom(...PERSISTENT_SPACES, ...WORKING_SPACES);
const spacePlan = fc.record({ space, base: bytes, slotBytes: list(bytes) });
const key = fc.string({ minLength: 1 }).filter((name) => name !== '__proto__');

const attr: fc.Arbitrary<Attr> = fc.letrec<{ attr: Attr }>((tie) => ({
  attr: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    double,
    fc.string(),
    list(double),
    list(tie('attr')),
    fc.array(fc.tuple(key, tie('attr')), { maxLength: 3 }).map((entries) => Object.fromEntries(entries)),
  ),
})).attr;
const attrs = fc.array(fc.tuple(key, attr), { maxLength: 3 }).map((entries) => Object.fromEntries(entries));

// The first chunk goes without saying.
const chunk = fc.integer({ min: 1, max: 1000 });
/** With `chunk`, or without. */
const chunked = <T extends object>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record({ ...fields, chunk }, { requiredKeys: Object.keys(fields) as never[] });

const program = chunked({
  kind: fc.constantFrom('forward', 'recompute', 'backward', 'weights'),
  values: list(fc.record({ shape, dtype, space, offset: bytes })),
  nodes: list(
    fc.record({
      kernel: fc.string(),
      inputs: list(small),
      inputNames: list(fc.string()),
      outputs: list(small),
      attrs,
      scope: fc.string(),
    }),
  ),
});
const slots = fc.record({
  batch: slot,
  received: slot,
  sent: slot,
  saved: slot,
  receivedGradients: slot,
  sentGradients: slot,
  pending: slot,
  recomputed: slot,
});
const instruction: fc.Arbitrary<Instruction> = fc.oneof(
  chunked({ kind: fc.constant('load'), micro: small, slot: small }),
  chunked({ kind: fc.constantFrom('forward', 'recompute', 'backward', 'weights'), micro: small, slots }),
  chunked({
    kind: fc.constantFrom('send', 'receive'),
    what: fc.constantFrom('activation', 'gradient'),
    micro: small,
    slot: small,
    bytes,
    peer: small,
  }),
  chunked({
    kind: fc.constant('handOver'),
    what: fc.constantFrom('activation', 'gradient'),
    micro: small,
    slot: small,
    bytes,
    to: small,
  }),
  fc.record({ kind: fc.constantFrom('zero', 'reduce', 'reduceState', 'update') }),
) as fc.Arbitrary<Instruction>;
const field = chunked({ name: fc.string(), shape, dtype, offset: bytes });
const constant = fc.record({
  offset: bytes,
  data: fc.oneof(
    fc.float32Array({ maxLength: 5 }),
    fc.int32Array({ maxLength: 5 }),
    fc.uint8Array({ maxLength: 5 }),
    // A view that is not at the start of its buffer.
    fc.float32Array({ minLength: 3, maxLength: 5 }).map((array) => array.subarray(1)),
  ),
});
const executable: fc.Arbitrary<Executable> = fc.record({
  name: fc.string(),
  numMicroBatches: small,
  microBatchSize: small,
  spaces: list(fc.record({ space: working, base: bytes, slotBytes: list(bytes) })),
  arenaBytes: bytes,
  programs: list(program),
  schedule: list(instruction),
  inputs: list(field),
  metrics: list(fc.string()),
  outputs: list(field),
  constants: list(constant),
}) as fc.Arbitrary<Executable>;

const mesh = fc.record({ pp: small, dp: small, tp: small });
const optimizer: fc.Arbitrary<OptimizerPlan> = fc.oneof(
  fc.record({ kind: fc.constant('sgd') }),
  fc.record({ kind: fc.constant('momentum'), momentum: double, nesterov: fc.boolean() }),
  fc.record({
    kind: fc.constant('rmsprop'),
    decay: double,
    momentum: double,
    epsilon: double,
    centered: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('adam'), beta1: double, beta2: double, epsilon: double, weightDecay: double }),
) as fc.Arbitrary<OptimizerPlan>;
const bucket = fc.record(
  { group: small, offset: bytes, length: bytes, scale: double, pieceLength: fc.integer({ min: 1, max: 1e9 }) },
  { requiredKeys: ['group', 'offset', 'length', 'scale'] },
);
const rankPlan: fc.Arbitrary<RankPlan> = fc.record({
  rank: small,
  coordinates: mesh,
  mesh,
  groups: list(fc.record({ id: small, axis: fc.constantFrom('tp', 'dp', 'world', 'tie'), ranks: list(small) })),
  parameters: list(
    fc.record({
      parameter: small,
      name: fc.string(),
      shape,
      dtype,
      trainable: fc.boolean(),
      offset: bytes,
      gradientOffset: fc.oneof(fc.constant(-1), bytes),
      momentOffsets: list(bytes),
      countsInNorm: fc.boolean(),
      decays: fc.boolean(),
    }),
  ),
  persistentSpaces: list(spacePlan),
  persistentBytes: bytes,
  gradientBuckets: list(bucket),
  stateBuckets: list(bucket),
  optimizer,
  clipNorm: double,
  executables: fc.array(executable, { maxLength: 2 }),
}) as fc.Arbitrary<RankPlan>;

const parameterPlan: fc.Arbitrary<ParameterPlan> = fc.record(
  {
    name: fc.string(),
    shape,
    dtype,
    trainable: fc.boolean(),
    layout: fc.oneof(
      fc.record({ kind: fc.constantFrom('replicate', 'partial') }),
      fc.record({ kind: fc.constant('shard'), dim: small, parts: small, paddedSize: bytes }),
    ),
    stages: list(small),
    virtualStages: fc.array(small, { minLength: 1, maxLength: 3 }),
    initializer: fc.oneof(
      fc.record({ kind: fc.constant('constant'), value: double }),
      fc.record({ kind: fc.constant('uniform'), low: double, high: double }),
      fc.record({ kind: fc.constantFrom('normal', 'truncatedNormal'), mean: double, stddev: double }),
    ),
  },
  { requiredKeys: ['name', 'shape', 'dtype', 'trainable', 'layout', 'stages'] },
) as fc.Arbitrary<ParameterPlan>;
const chunking = fc.oneof(
  fc.constant({}),
  fc.record({ numChunks: fc.integer({ min: 2, max: 1000 }), placement: fc.constantFrom('loop', 'vee') }),
);
const wholePlan = fc.record({
  mesh,
  scheduleName: fc.string(),
  numMicroBatches: small,
  microBatchSize: small,
  seed: bytes,
  parameters: list(parameterPlan),
  schedule: list(list(chunked({ kind: fc.constantFrom('F', 'R', 'B', 'W'), micro: small }))),
  stages: list(
    fc.record({
      stage: small,
      layers: list(fc.string()),
      numParameters: bytes,
      forwardFlops: double,
      backwardFlops: double,
      parameterBytes: bytes,
      peakBytes: bytes,
      sendBytes: double,
      allReduceBytes: double,
      recompute: fc.constantFrom('none', 'full'),
    }),
  ),
  ranks: fc.array(rankPlan, { maxLength: 2 }),
});
const plan = fc.tuple(wholePlan, chunking).map(([whole, chunks]) => ({ ...whole, ...chunks })) as fc.Arbitrary<Plan>;

// fast-check's records have no prototype; cloning gives them the usual one.
describe('serialisation', () => {
  it('returns every plan unchanged', () => {
    fc.assert(
      fc.property(plan.map(structuredClone<Plan>), (value) => {
        expect(decodePlan(encodePlan(value))).toStrictEqual(value);
      }),
      { numRuns: 100 },
    );
  });

  it('returns every rank plan unchanged', () => {
    fc.assert(
      fc.property(rankPlan.map(structuredClone<RankPlan>), (value) => {
        expect(decodeRankPlan(encodeRankPlan(value))).toStrictEqual(value);
      }),
      { numRuns: 100 },
    );
  });

  it('refuses other bytes', () => {
    expect(() => decodePlan(Uint8Array.of(255, 255, 255, 1))).toThrow(MerakError);
  });
});
