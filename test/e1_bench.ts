import * as tf from '@tensorflow/tfjs';
import { optimizeGraph } from '../src/graph/passes/optimize.js';
import { ensureKernels } from '../src/kernels/register.js';
import { gpt } from '../src/models/gpt.js';
import { buildPlan } from '../src/planner/buildPlan.js';
import { NativeDevice } from '../src/runtime/native/device.js';
import { traceModel } from '../src/trace/trace.js';
await tf.setBackend('cpu');
ensureKernels('cpu');
const [layers, hidden, heads, T, V, B, m, threads, drop] = (process.argv[2] ?? '6,384,6,128,512,8,1,1,0').split(',').map(Number) as number[];
const user = gpt({ vocabularySize: V!, contextLength: T!, numLayers: layers!, numHeads: heads!, hiddenSize: hidden!, dropout: drop!, seed: 3 });
const fields = (['tokens', 'targets'] as const).map((name) => ({ name, shape: [T!], dtype: 'int32' as const }));
const trace = traceModel(user, 'train', fields, B! / m!);
const graph = optimizeGraph(trace.graph);
const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 } as const;
const plan = buildPlan({ train: graph, optimizer, clipNorm: 1, seed: 5, microBatchSize: B! / m!, numMicroBatches: m!, mesh: { dp: 1, tp: 1, pp: 1 } });
const rank = plan.ranks[0]!;
const device = new NativeDevice({ threads: threads! });
await device.open(rank);
const t0 = performance.now();
for (const e of rank.executables) await device.load(e);
console.log('compile', (performance.now() - t0).toFixed(0), 'ms');
const data = new Map(trace.graph.parameters.map(({ name }, i) => [name, trace.variables[i]?.dataSync() as Float32Array]));
let params = 0;
for (const [i, p] of rank.parameters.entries()) { await device.write(i, 'value', data.get(p.name)!); params += data.get(p.name)!.length; }
const n = B! * T!;
const tokens = Int32Array.from({ length: n }, (_, i) => (i * i * 7 + i) % V!);
const targets = Int32Array.from({ length: n }, (_, i) => ((i + 1) * (i + 1) * 7 + i + 1) % V!);
const times: number[] = [];
for (let step = 0; step < 12; step++) {
  const r = await device.run('train', { step, seed: 1, learningRate: 1e-3, inputs: new Map([['tokens', tokens], ['targets', targets]]), timeoutSeconds: 10 });
  times.push(r.seconds);
  if (step % 4 === 0) console.log(step, r.metrics.loss, r.seconds);
}
const kt = await device.kernelTimes();
for (const [k, v] of Object.entries(kt).sort((a, b) => b[1].seconds - a[1].seconds)) console.log(k.padEnd(30), (v.seconds / 12 * 1e3).toFixed(2), 'ms/step', v.numRuns / 12);
console.log('sum', Object.values(kt).reduce((a, b) => a + b.seconds, 0) / 12 * 1e3, 'mean step', times.reduce((a, b) => a + b) / 12 * 1e3);
const best = Math.min(...times);
const emb = V! * hidden! + T! * hidden!;
const matmulFlops = n * 6 * (params - emb + V! * hidden!);
const attnFlops = n * layers! * 12 * T! * hidden! / 2;
console.log({ params, best, tokensPerSecond: n / best, gflops: (matmulFlops + attnFlops) / best / 1e9, matmulGflops: matmulFlops / best / 1e9 });
console.log(device.measuredBytes(), 'planned', rank.persistentBytes, rank.executables.map((e) => [e.name, e.arenaBytes]));
console.log(rank.executables[0]!.programs.map((p) => [p.kind, p.nodes.length]));
if (process.argv[3]) for (const p of rank.executables[0]!.programs) { console.log(p.kind); for (const nd of p.nodes.slice(0, +process.argv[3])) console.log(nd.kernel, nd.inputs.map((i) => `${p.values[i]!.shape.join('x')}@${p.values[i]!.space}+${p.values[i]!.offset}`).join(' '), '->', nd.outputs.map((i) => `${p.values[i]!.shape.join('x')}@${p.values[i]!.space}+${p.values[i]!.offset}`).join(' '), nd.attrs.transposeA ? 'tA' : '', nd.attrs.transposeB ? 'tB' : '', nd.scope); }
device.close();
