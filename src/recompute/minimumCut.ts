/** The minimum cut of a directed graph with real capacities, by Dinic's maximum flow. */

/** Edges are added first, then `cut` once. Capacities below a trillionth of the largest finite one count as used up. */
export class CutGraph {
  private readonly target: number[] = [];
  private readonly capacity: number[] = [];
  private readonly next: number[] = [];
  private readonly first: number[] = [];
  private largest = 0;

  /** Returns the id of a new vertex. */
  addVertex(): number {
    this.first.push(-1);
    return this.first.length - 1;
  }

  /** A cut with `from` on the source's side and `to` on the sink's pays `capacity` (Infinity: forbidden). */
  addEdge(from: number, to: number, capacity: number): void {
    if (Number.isFinite(capacity)) this.largest = Math.max(this.largest, capacity);
    this.addHalf(from, to, capacity);
    this.addHalf(to, from, 0);
  }

  /** Per vertex: whether it lies on the source's side of the smallest minimum cut. */
  cut(source: number, sink: number): boolean[] {
    const epsilon = this.largest * 1e-12;
    for (;;) {
      const level = this.levels(source, epsilon);
      if ((level[sink] ?? -1) < 0) return Array.from(level, (distance) => distance >= 0);
      const edge = Int32Array.from(this.first);
      while (this.augment(source, sink, level, edge, epsilon) > 0);
    }
  }

  private addHalf(from: number, to: number, capacity: number): void {
    this.target.push(to);
    this.capacity.push(capacity);
    this.next.push(this.first[from] ?? -1);
    this.first[from] = this.target.length - 1;
  }

  private levels(source: number, epsilon: number): Int32Array {
    const level = new Int32Array(this.first.length).fill(-1);
    level[source] = 0;
    const queue = [source];
    for (let at = 0; at < queue.length; at++) {
      const vertex = queue[at] ?? 0;
      for (let edge = this.first[vertex] ?? -1; edge >= 0; edge = this.next[edge] ?? -1) {
        const to = this.target[edge] ?? 0;
        if ((level[to] ?? 0) >= 0 || (this.capacity[edge] ?? 0) <= epsilon) continue;
        level[to] = (level[vertex] ?? 0) + 1;
        queue.push(to);
      }
    }
    return level;
  }

  /** Pushes flow along one shortest path, found without recursion: paths are as long as the graph is deep. */
  private augment(source: number, sink: number, level: Int32Array, edge: Int32Array, epsilon: number): number {
    const path: number[] = [];
    let vertex = source;
    while (vertex !== sink) {
      const out = edge[vertex] ?? -1;
      if (out < 0) {
        if (vertex === source) return 0;
        level[vertex] = -1;
        const back = path.pop() ?? 0;
        vertex = this.target[back ^ 1] ?? source;
        edge[vertex] = this.next[back] ?? -1;
        continue;
      }
      const to = this.target[out] ?? 0;
      if ((this.capacity[out] ?? 0) > epsilon && level[to] === (level[vertex] ?? 0) + 1) {
        path.push(out);
        vertex = to;
      } else {
        edge[vertex] = this.next[out] ?? -1;
      }
    }
    let flow = Number.POSITIVE_INFINITY;
    for (const id of path) flow = Math.min(flow, this.capacity[id] ?? 0);
    if (flow === Number.POSITIVE_INFINITY) throw new RangeError('a path of unlimited capacity joins source and sink');
    for (const id of path) {
      this.capacity[id] = (this.capacity[id] ?? 0) - flow;
      this.capacity[id ^ 1] = (this.capacity[id ^ 1] ?? 0) + flow;
    }
    return flow;
  }
}
