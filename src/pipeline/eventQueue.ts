/** Events in order of time; those of one time in the order they were added. A binary heap. */

interface Entry<T> {
  readonly time: number;
  readonly order: number;
  readonly event: T;
}

export class EventQueue<T> {
  private readonly heap: Entry<T>[] = [];
  private numAdded = 0;

  add(time: number, event: T): void {
    const entry = { time, order: this.numAdded++, event };
    let at = this.heap.length;
    this.heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.before(entry, this.heap[parent]!)) break;
      this.heap[at] = this.heap[parent]!;
      at = parent;
    }
    this.heap[at] = entry;
  }

  /** The earliest event, removed; undefined when there is none. */
  take(): { readonly time: number; readonly event: T } | undefined {
    const first = this.heap[0];
    const last = this.heap.pop();
    if (first === undefined || last === undefined || this.heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.heap.length) break;
      if (child + 1 < this.heap.length && this.before(this.heap[child + 1]!, this.heap[child]!)) child++;
      if (!this.before(this.heap[child]!, last)) break;
      this.heap[at] = this.heap[child]!;
      at = child;
    }
    this.heap[at] = last;
    return first;
  }

  private before(a: Entry<T>, b: Entry<T>): boolean {
    return a.time < b.time || (a.time === b.time && a.order < b.order);
  }
}
