/** The messages of proto/: parsed, or, in what is installed, as the bundle kept them, which a process has in less than half the time. */
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { packageFile, runsSources } from './packageFiles.js';

/** `name` without ending: proto/merak.proto holds plans, proto/coordinator.proto what coordinator and workers say. */
export function loadSchema(name: 'merak' | 'coordinator'): protobuf.Root {
  if (runsSources) return protobuf.loadSync(packageFile(`proto/${name}.proto`));
  return protobuf.Root.fromJSON(JSON.parse(readFileSync(packageFile(`dist/proto/${name}.json`), 'utf8')));
}
