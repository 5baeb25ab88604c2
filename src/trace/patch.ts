/** Replacing a method of a tfjs object for the time of a call. */

/** Puts `replacement` (made from the original) on `owner[name]`; the returned function puts everything back as it was. */
export function patch<Owner extends object, Name extends keyof Owner>(
  owner: Owner,
  name: Name,
  replace: (original: Owner[Name]) => Owner[Name],
): () => void {
  const own = Object.getOwnPropertyDescriptor(owner, name);
  Object.defineProperty(owner, name, { value: replace(owner[name]), configurable: true, writable: true });
  return () => {
    if (own === undefined) Reflect.deleteProperty(owner, name);
    else Object.defineProperty(owner, name, own);
  };
}

/** Runs `body` under several patches; they come off in reverse order, on errors too. */
export function patched<T>(patches: readonly (() => () => void)[], body: () => T): T {
  const undo: (() => void)[] = [];
  try {
    for (const apply of patches) undo.push(apply());
    return body();
  } finally {
    for (const restore of undo.reverse()) restore();
  }
}
