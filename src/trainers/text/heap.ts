/** A binary heap of entries with a count: the largest first, equal ones in the order of their keys. */
export interface Counted {
  readonly key: string;
  readonly count: number;
}

export class LargestFirst {
  private readonly entries: Counted[] = [];

  push(entry: Counted): void {
    const { entries } = this;
    let at = entries.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!precedes(entry, entries[parent]!)) break;
      entries[at] = entries[parent]!;
      at = parent;
    }
    entries[at] = entry;
  }

  pop(): Counted | undefined {
    const { entries } = this;
    const [first] = entries;
    const last = entries.pop();
    if (first === undefined || last === undefined || entries.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= entries.length) break;
      if (child + 1 < entries.length && precedes(entries[child + 1]!, entries[child]!)) child++;
      if (!precedes(entries[child]!, last)) break;
      entries[at] = entries[child]!;
      at = child;
    }
    entries[at] = last;
    return first;
  }
}

function precedes(a: Counted, b: Counted): boolean {
  return a.count > b.count || (a.count === b.count && a.key < b.key);
}
