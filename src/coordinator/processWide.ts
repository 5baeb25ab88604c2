/** State that all copies of Merak in one process share: the command's own and the one the user's script imports. */

/** The value under `name`, made by `create` the first time. Its type is part of the agreement between the copies. */
export function processWide<T>(name: string, create: () => T): T {
  const key = Symbol.for(`merak.${name}`);
  const holder = globalThis as { [key: symbol]: T | undefined };
  holder[key] ??= create();
  return holder[key];
}
