/** The pairs of graphs a run matches: generated ones, or those of files, checked. */
import { MerakError, readers } from '../../index.js';
import type { DataFolder } from '../context.js';
import { components, degrees, type EdgeList } from '../readers/edges.js';
import type { SigmaConfig } from './config.js';
import { type GraphPair, generatePair } from './generate.js';

export interface Problem {
  /** Pairs of one group are averaged in the tables. */
  readonly group: string;
  readonly name: string;
  readonly pair: GraphPair;
}

/** @throws MerakError trainer/data naming file and line: no edge, disconnected, too few targets, a wrong truth */
export async function problemsOf(config: SigmaConfig, data: DataFolder, seed: number): Promise<Problem[]> {
  if (config.graphs === 'files') return [{ group: 'files', name: 'files', pair: await readPair(config, data) }];
  const { models, noise, repeats, nodes, meanDegree } = config;
  return models.flatMap((model) =>
    noise.flatMap((level) =>
      Array.from({ length: repeats }, (_, repeat) => {
        const group = `${model} ${Math.round(level * 100)} %`;
        const pair = generatePair({ model, nodes, meanDegree, noise: level, seed: seed * 1000 + repeat });
        return { group, name: `${model}-${level}-${repeat}`, pair };
      }),
    ),
  );
}

async function readPair(config: SigmaConfig, data: DataFolder): Promise<GraphPair> {
  const files = { source: data.path(config.source), target: data.path(config.target) };
  const [source, target] = [await readers.edges(files.source), await readers.edges(files.target)];
  if (!config.allowDisconnected) {
    checkConnected(files.source, source);
    checkConnected(files.target, target);
  }
  if (source.numNodes > target.numNodes) {
    throw new MerakError('trainer/data', 'the source has more nodes than the target', {
      path: files.source,
      expected: `at most ${target.numNodes} nodes, those of ${files.target}`,
      received: `${source.numNodes}`,
      hint: 'exchange source and target',
    });
  }
  if (config.truth === '') return { source, target };
  return { source, target, truth: await readTruth(data.path(config.truth), source, target) };
}

function checkConnected(file: string, graph: EdgeList): void {
  const roots = components(graph);
  const count = new Set(roots).size;
  if (count === 1) return;
  const alone = degrees(graph).filter((degree) => degree === 0).length;
  const outside = roots.findIndex((root) => root !== roots[0]);
  throw new MerakError('trainer/data', 'a graph is disconnected', {
    path: file,
    expected: 'one component',
    received: `${count} components, ${alone} nodes without edges; no path from node 0 to node ${outside}`,
    hint: 'keep the largest component and number its nodes from 0, or set allowDisconnected=true',
  });
}

async function readTruth(file: string, source: EdgeList, target: EdgeList): Promise<Int32Array> {
  const truth = new Int32Array(source.numNodes).fill(-1);
  const rows = await readers.tsv(file, { columns: ['source', 'target'], header: false });
  const node = (row: (typeof rows)[number], column: string, graph: EdgeList): number => {
    const value = row.number(column, { min: 0, max: graph.numNodes - 1 });
    if (Number.isInteger(value)) return value;
    throw new MerakError('trainer/data', `'${column}' is no node`, {
      path: `${file}:${row.line}`,
      received: `${value}`,
    });
  };
  for (const row of rows) truth[node(row, 'source', source)] = node(row, 'target', target);
  return truth;
}
