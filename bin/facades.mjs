/** Module hooks: CommonJS modules as ES modules whose text is given (src/launcher/commonjs.ts), by URL. */
let facades = new Map();

export function initialize(given) {
  facades = given;
}

export async function load(url, context, nextLoad) {
  const source = facades.get(url);
  return source === undefined ? nextLoad(url, context) : { format: 'module', source, shortCircuit: true };
}
