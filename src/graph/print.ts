/** A graph as readable text, one line per value that matters: for DEBUG output and --explain. */
import type { Attr, Graph, Node, Value, ValueId } from './graph.js';

const MAX_ATTR_LENGTH = 60;

export function printGraph(graph: Graph): string {
  const name = (id: ValueId) => `%${id}`;
  const typed = (id: ValueId) => `${name(id)}: ${printValue(graph.values[id])}`;
  return [
    ...graph.inputs.map((input) => `input      ${typed(input.value)}  "${input.name}"`),
    ...graph.parameters.map(
      (parameter) =>
        `parameter  ${typed(parameter.value)}  "${parameter.name}"${parameter.trainable ? '' : ' (frozen)'}`,
    ),
    ...graph.constants.map(({ value, data }) => `constant   ${typed(value)} = ${printData(data)}`),
    ...graph.nodes.map((node) => printNode(node, name, typed)),
    ...graph.outputs.map((output) => `output     ${name(output.value)}  "${output.name}"`),
    ...graph.updates.map(
      ({ parameter, value }) => `update     "${graph.parameters[parameter]?.name}" := ${name(value)}`,
    ),
  ].join('\n');
}

/** `float32[8*, 16]`: the star marks the batch dim. */
export function printValue(value: Value | undefined): string {
  if (value === undefined) return '?';
  const dims = value.shape.map((size, dim) => (dim === value.batchDim ? `${size}*` : String(size)));
  return `${value.dtype}[${dims.join(', ')}]`;
}

function printNode(node: Node, name: (id: ValueId) => string, typed: (id: ValueId) => string): string {
  const inputs = node.inputs.map((id, index) => `${node.inputNames[index]}=${name(id)}`);
  const attrs = Object.entries(node.attrs).map(([key, value]) => `${key}: ${printAttr(value)}`);
  const call = `${node.kernel}(${inputs.join(', ')})${attrs.length === 0 ? '' : ` {${attrs.join(', ')}}`}`;
  const where = [node.scope, node.source].filter(Boolean).join(' at ');
  return `${node.outputs.map(typed).join(', ')} = ${call}${where === '' ? '' : `  # ${where}`}`;
}

function printAttr(value: Attr): string {
  const text = JSON.stringify(value);
  return text.length > MAX_ATTR_LENGTH ? `${text.slice(0, MAX_ATTR_LENGTH)}...` : text;
}

function printData(data: ArrayLike<number>): string {
  const shown = Array.from({ length: Math.min(data.length, 4) }, (_, index) => data[index]);
  return `[${shown.join(', ')}${data.length > 4 ? ', ...' : ''}]`;
}
