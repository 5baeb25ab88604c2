/** A map of limited size that forgets what was used longest ago. */
import { MerakError } from '../../errors.js';

/** Raises config/invalid unless it is a positive integer. */
export function checkMaxPrograms(maxPrograms: number, origin: string): number {
  if (Number.isInteger(maxPrograms) && maxPrograms >= 1) return maxPrograms;
  throw new MerakError('config/invalid', 'the limit of compiled programs is not usable', {
    path: `${origin}: maxPrograms`,
    expected: 'an integer >= 1',
    received: String(maxPrograms),
  });
}

export class LeastRecentlyUsed<Value> {
  private readonly entries = new Map<string, Value>();

  /** `onEvict` frees what an entry holds: when it is pushed out, deleted, or all are cleared. */
  constructor(
    private readonly maxEntries: number,
    private readonly onEvict: (value: Value, key: string) => void,
  ) {}

  get size(): number {
    return this.entries.size;
  }

  get(key: string): Value | undefined {
    const value = this.entries.get(key);
    if (value === undefined) return undefined;
    this.entries.delete(key);
    this.entries.set(key, value);
    return value;
  }

  /** Makes room before the new entry is in, so that no more than the limit ever live at once. */
  set(key: string, value: Value): void {
    this.delete(key);
    while (this.entries.size >= this.maxEntries) this.deleteOldest();
    this.entries.set(key, value);
  }

  delete(key: string): void {
    const value = this.entries.get(key);
    if (value === undefined) return;
    this.entries.delete(key);
    this.onEvict(value, key);
  }

  clear(): void {
    for (const key of [...this.entries.keys()]) this.delete(key);
  }

  /** Longest unused first. */
  values(): Value[] {
    return [...this.entries.values()];
  }

  deleteOldest(): void {
    const oldest = this.entries.keys().next();
    if (oldest.done !== true) this.delete(oldest.value);
  }
}
