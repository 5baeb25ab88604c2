/** Errors of a trace, with the user's line and the layer in `path`. */
import { type ErrorCode, type ErrorDetails, MerakError } from '../errors.js';
import { currentMode } from './mode.js';
import { callerNames, userSource } from './source.js';

export function traceError(code: ErrorCode, message: string, details: Omit<ErrorDetails, 'path'> = {}): MerakError {
  const path = whereabouts(userSource(), currentMode()?.scope() ?? '');
  return new MerakError(code, message, { ...details, ...(path === '' ? {} : { path }) });
}

/** `file:line:column (layer scope)`, as much of it as is known. */
export function whereabouts(source: string | undefined, scope: string): string {
  if (source === undefined) return scope === '' ? '' : `layer ${scope}`;
  return scope === '' ? source : `${source} (layer ${scope})`;
}

const DYNAMIC_SHAPE_OPS = ['whereAsync_', 'booleanMaskAsync_', 'setdiff1dAsync_', 'nonMaxSuppressionAsync_'];

/** A tensor's values were asked for where there are none. */
export function dataReadError(): MerakError {
  const names = callerNames();
  const dynamic = DYNAMIC_SHAPE_OPS.find((name) => names.includes(name));
  if (dynamic !== undefined) return dynamicShapeError(dynamic.replace(/(Async)?_$/, ''));
  if (currentMode() === undefined) {
    return traceError('trace/data-read', 'this tensor has no data: it belongs to a model built with merak.lazy', {
      hint: 'the values exist on the workers; read them through the wrapped model (save, checkpoint, predict)',
    });
  }
  return traceError('trace/data-read', 'the model reads the values of a tensor while it is traced', {
    hint: 'dataSync, data, arraySync, array, print and value-dependent if/for cannot be traced; use tensor ops (tf.where, masks) instead',
  });
}

export function dynamicShapeError(what: string): MerakError {
  return traceError('trace/dynamic-shape', `${what} gives a tensor whose shape depends on data`, {
    hint: 'keep shapes static: multiply by a mask, or use tf.where with three arguments',
  });
}
