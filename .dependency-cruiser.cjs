// The import direction of docs/architecture.md: each room may import from the rooms listed here and from itself.
const ROOMS = {
  config: [],
  graph: [],
  // Passes may evaluate constants, so they stand above the kernels.
  'graph/passes': ['graph', 'kernels'],
  pipeline: [],
  trace: ['graph', 'nn'],
  kernels: ['graph'],
  nn: ['kernels', 'graph'],
  models: ['nn', 'trace', 'graph', 'checkpoint'],
  partitioner: ['graph'],
  autodiff: ['graph', 'trace', 'kernels', 'partitioner'],
  tensorparallel: ['graph', 'kernels'],
  plan: ['graph', 'pipeline', 'partitioner', 'autodiff', 'tensorparallel'],
  recompute: ['graph', 'autodiff', 'partitioner', 'plan'],
  planner: ['graph', 'pipeline', 'partitioner', 'autodiff', 'tensorparallel', 'recompute', 'plan'],
  runtime: ['plan', 'graph', 'kernels'],
  nccl: ['runtime'],
  quantisation: ['graph'],
  data: ['graph', 'trace', 'runtime'],
  checkpoint: [],
  coordinator: ['plan', 'runtime'],
  worker: ['plan', 'runtime', 'coordinator'],
  api: ['config', 'graph', 'autodiff', 'trace', 'models', 'kernels', 'planner', 'plan', 'tensorparallel', 'runtime', 'data', 'checkpoint', 'coordinator', 'quantisation'],
  launcher: ['config', 'coordinator', 'runtime', 'api', 'planner', 'trainers', 'pipeline', 'models', 'trace', 'graph'],
  // Recipes see the public API (src/index.ts) and nothing behind it.
  trainers: [],
};

const names = Object.keys(ROOMS).join('|');
// Two contracts are types of one room that another must name; types vanish when compiled.
const forbidden = Object.entries(ROOMS).map(([room, allowed]) => ({
  name: `${room}-imports`,
  severity: 'error',
  comment: `src/${room} may import ${allowed.length > 0 ? allowed.join(', ') : 'no other room'} (docs/architecture.md)`,
  from: { path: `^src/${room}/`, ...(room === 'graph' ? { pathNot: '^src/graph/passes/' } : {}) },
  to: { path: `^src/(${names})/`, pathNot: `^src/(${[room, ...allowed].join('|')})/`, dependencyTypesNot: ['type-only'] },
}));

module.exports = {
  forbidden: [
    ...forbidden,
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    { name: 'trainers-use-the-public-api', severity: 'error', from: { path: '^src/trainers/' }, to: { path: '^src/(?!index|trainers|errors)' } },
  ],
  options: { tsPreCompilationDeps: true, tsConfig: { fileName: 'tsconfig.json' }, doNotFollow: { path: 'node_modules' } },
};
