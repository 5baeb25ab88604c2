/** Which line of the user's code is running: the first stack frame outside Merak, node_modules and Node itself. */
import { sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CODE_FOLDER } from '../packageFiles.js';

const MERAK_CODE = CODE_FOLDER + sep;
const MAX_FRAMES = 120;

/** Positions in the running (perhaps transpiled) code, to positions in the source as the user wrote it. */
const mapped = new Map<string, string>();

/** `file:line:column`, or undefined when no user code is on the stack. Source maps are followed where Node or the test runner follows them. */
export function userSource(): string | undefined {
  const sites = callSites(userSource);
  const index = sites.findIndex(isUserFrame);
  const site = sites[index];
  if (site === undefined) return undefined;
  const raw = `${site.getFileName()}:${site.getLineNumber()}:${site.getColumnNumber()}`;
  const known = mapped.get(raw);
  if (known !== undefined) return known;
  const source = withoutScheme(formattedFrame(index, userSource) ?? raw);
  mapped.set(raw, source);
  return source;
}

/** Names of the functions on the stack, innermost first. */
export function callerNames(): string[] {
  return callSites(callerNames).flatMap((site) => site.getFunctionName() ?? []);
}

type Frame = Pick<NodeJS.CallSite, 'getFileName' | 'getLineNumber' | 'getColumnNumber' | 'getFunctionName'>;

function callSites(above: () => unknown): readonly Frame[] {
  const { prepareStackTrace, stackTraceLimit } = Error;
  const holder: { stack?: unknown } = {};
  let sites: readonly Frame[] = [];
  try {
    Error.stackTraceLimit = MAX_FRAMES;
    Error.prepareStackTrace = (_, frames) => {
      sites = frames;
      return '';
    };
    Error.captureStackTrace(holder, above);
    void holder.stack;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    Error.prepareStackTrace = prepareStackTrace;
  }
  return sites;
}

/** The frame's text as whoever formats stacks here (Node with source maps, tsx, vitest) writes it. */
function formattedFrame(index: number, above: () => unknown): string | undefined {
  const { stackTraceLimit } = Error;
  const holder: { stack?: string } = {};
  Error.stackTraceLimit = MAX_FRAMES;
  Error.captureStackTrace(holder, above);
  const text = holder.stack ?? '';
  Error.stackTraceLimit = stackTraceLimit;
  const frames = text.split('\n').filter((line) => line.trimStart().startsWith('at '));
  return frames[index]?.match(/\(?([^()\s]+:\d+:\d+)\)?$/)?.[1];
}

/** By file name: every operation of a trace asks, and the answer takes a parsed URL. */
const userFiles = new Map<string, boolean>();

function isUserFrame(site: Frame): boolean {
  const file = site.getFileName();
  if (file === null || file === undefined) return false;
  let known = userFiles.get(file);
  if (known === undefined) {
    known = isUserFile(file);
    userFiles.set(file, known);
  }
  return known;
}

function isUserFile(file: string): boolean {
  if (file.startsWith('node:')) return false;
  const path = withoutScheme(file);
  return path.startsWith('/') && !path.includes('/node_modules/') && !path.startsWith(MERAK_CODE);
}

function withoutScheme(position: string): string {
  if (!position.startsWith('file://')) return position;
  const [, url = '', suffix = ''] = position.match(/^(file:\/\/[^?]*?)(?:\?[^:]*)?((?::\d+)*)$/) ?? [];
  return url === '' ? position : fileURLToPath(url) + suffix;
}
