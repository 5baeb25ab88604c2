import * as tf from '@tensorflow/tfjs';
import { ensureKernels } from '../src/kernels/register.js';
import { gpt } from '../src/models/gpt.js';
import { optimizeGraph } from '../src/graph/passes/optimize.js';
import { buildPlan } from '../src/planner/buildPlan.js';
import { NativeDevice } from '../src/runtime/native/device.js';
import { traceModel } from '../src/trace/trace.js';
await tf.setBackend('cpu'); ensureKernels('cpu');
const mode = process.argv[2];
const user = gpt({ vocabularySize: 512, contextLength: 64, numLayers: 4, numHeads: 4, hiddenSize: 256, seed: 3 });
const fields = (['tokens', 'targets'] as const).map((name) => ({ name, shape: [64], dtype: 'int32' as const }));
const trace = traceModel(user, 'train', fields, 8);
const plan = buildPlan({ train: optimizeGraph(trace.graph), optimizer: { kind: 'sgd' }, clipNorm: 0, seed: 5, microBatchSize: 8, numMicroBatches: 1, mesh: { dp: 1, tp: 1, pp: 1 } });
const device = new NativeDevice({ threads: 2 });
await device.open(plan.ranks[0]!);
await device.load(plan.ranks[0]!.executables[0]!);
const z = new Int32Array(512);
const run = () => device.run('train', { step: 0, seed: 1, learningRate: 1e-3, inputs: new Map([['tokens', z], ['targets', z]]), timeoutSeconds: 10 });
if (mode === 'noclose') { console.log((await run()).metrics); }
if (mode === 'exit') { void run(); void run(); setTimeout(() => process.exit(3), 20); }
if (mode === 'close') { const r = run().catch((e) => console.log('rejected', e.code)); setTimeout(() => { device.close(); console.log('closed'); }, 10); await r; }
if (mode === 'badid') { z[5] = 9999; await run().catch((e) => console.log(String(e).slice(0, 300))); }
if (mode === 'gc') { console.log((await run()).metrics); for (let i = 0; i < 30; i++) { const d = new NativeDevice(); await d.open(plan.ranks[0]!); await d.load(plan.ranks[0]!.executables[0]!); } (globalThis as { gc?: () => void }).gc?.(); await new Promise((r) => setTimeout(r, 50)); console.log('gc ok'); }
