/** Lets Node import TypeScript, once a file asks for it. */
const TYPESCRIPT = new Set(['.ts', '.mts', '.cts', '.tsx']);

/** @param extension of the file to be imported, with its dot */
export async function registerTypescript(extension: string): Promise<void> {
  if (!TYPESCRIPT.has(extension)) return;
  const { register } = await import('tsx/esm/api');
  register();
}
