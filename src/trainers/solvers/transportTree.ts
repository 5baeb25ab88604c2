/** The spanning tree of a network simplex over sources, sinks and a root that any of them may be joined to. */

/**
 * Nodes are `numSources` sources, then `numSinks` sinks, then the root. A node but the root has one arc, to its parent: a
 * source's leads to the parent, a sink's comes from it. Reduced costs of the tree's arcs are 0: potential[source] + cost =
 * potential[sink] (the root standing for either).
 */
export class TransportTree {
  readonly parent: Int32Array;
  readonly flow: Float64Array;
  readonly potential: Float64Array;
  private readonly depth: Int32Array;
  private readonly firstChild: Int32Array;
  private readonly next: Int32Array;
  private readonly previous: Int32Array;

  /** Every node at the root, by arcs of cost `rootCost` with its own mass. */
  constructor(sources: Float64Array, sinks: Float64Array, rootCost: number) {
    const root = sources.length + sinks.length;
    this.parent = new Int32Array(root + 1).fill(root);
    this.parent[root] = NONE;
    this.flow = new Float64Array(root + 1);
    this.flow.set(sources);
    this.flow.set(sinks, sources.length);
    this.potential = new Float64Array(root + 1).fill(-rootCost, 0, sources.length).fill(rootCost, sources.length, root);
    this.depth = new Int32Array(root + 1).fill(1, 0, root);
    this.firstChild = new Int32Array(root + 1).fill(NONE);
    this.next = new Int32Array(root + 1).fill(NONE);
    this.previous = new Int32Array(root + 1).fill(NONE);
    for (let node = 0; node < root; node++) this.adopt(root, node);
    this.numSources = sources.length;
  }
  private readonly numSources: number;

  /**
   * Sends as much as it can through the arc from `source` to `sink` and back through the tree; the arc takes the place of
   * the one that is emptied. Of several it is the last along the cycle from where the two paths meet, in the direction of
   * the arc, so that no sequence of trees comes again (Cunningham 1976).
   */
  exchange(source: number, sink: number, reducedCost: number): void {
    const meeting = this.meetingOf(source, sink);
    let [least, leaving, onSourceSide] = [Number.POSITIVE_INFINITY, NONE, true];
    for (let node = source; node !== meeting; node = this.parent[node]!) {
      if (node < this.numSources && this.flow[node]! < least) [least, leaving] = [this.flow[node]!, node];
    }
    for (let node = sink; node !== meeting; node = this.parent[node]!) {
      if (node >= this.numSources && this.flow[node]! <= least) {
        [least, leaving, onSourceSide] = [this.flow[node]!, node, false];
      }
    }
    for (let node = source; node !== meeting; node = this.parent[node]!) {
      this.flow[node]! += node < this.numSources ? -least : least;
    }
    for (let node = sink; node !== meeting; node = this.parent[node]!) {
      this.flow[node]! += node < this.numSources ? least : -least;
    }
    const [moved, stays] = onSourceSide ? [source, sink] : [sink, source];
    this.hang(moved, leaving, stays, least);
    this.settle(moved, onSourceSide ? -reducedCost : reducedCost);
  }

  private meetingOf(a: number, b: number): number {
    let [x, y] = [a, b];
    while (x !== y) {
      if (this.depth[x]! >= this.depth[y]!) x = this.parent[x]!;
      else y = this.parent[y]!;
    }
    return x;
  }

  /** Cuts the arc above `cut` and hangs what was below it by `node`, which is in it, under `onto`. */
  private hang(node: number, cut: number, onto: number, flow: number): void {
    let [child, above, carried] = [node, onto, flow];
    for (;;) {
      const [oldParent, oldFlow] = [this.parent[child]!, this.flow[child]!];
      this.release(oldParent, child);
      this.adopt(above, child);
      this.flow[child] = carried;
      if (child === cut) return;
      [child, above, carried] = [oldParent, child, oldFlow];
    }
  }

  private adopt(parent: number, child: number): void {
    const first = this.firstChild[parent]!;
    this.parent[child] = parent;
    this.next[child] = first;
    this.previous[child] = NONE;
    if (first !== NONE) this.previous[first] = child;
    this.firstChild[parent] = child;
  }

  private release(parent: number, child: number): void {
    const [before, after] = [this.previous[child]!, this.next[child]!];
    if (before === NONE) this.firstChild[parent] = after;
    else this.next[before] = after;
    if (after !== NONE) this.previous[after] = before;
  }

  /** Shifts the potentials of `top` and all below it, and counts their depths anew. */
  private settle(top: number, shift: number): void {
    let node = top;
    for (;;) {
      this.potential[node]! += shift;
      this.depth[node] = this.depth[this.parent[node]!]! + 1;
      if (this.firstChild[node] !== NONE) {
        node = this.firstChild[node]!;
        continue;
      }
      while (node !== top && this.next[node] === NONE) node = this.parent[node]!;
      if (node === top) return;
      node = this.next[node]!;
    }
  }
}

const NONE = -1;
