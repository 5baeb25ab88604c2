/** What the proxy backend knows of a tensor: no data, unless it was written from host data. */
import type { DType, GraphConstant, Initializer, ValueId } from '../graph/graph.js';

export type HostData = GraphConstant['data'];

/** The tfjs dataId: an object whose identity is the tensor's storage. */
export type DataId = object;

export interface ProxyFacts {
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** How many tensors and variables share this dataId. */
  references: number;
  /** Host data: of a tensor written by tf.tensor and the like, or evaluated inside `lazy`. */
  readonly data?: HostData;
  /** The random op of tfjs that produced the data (`randomUniform`, ...), when one did. */
  readonly random?: string;
  /** A recorded initial value instead of data: only inside `lazy`. */
  readonly initializer?: Initializer;
  /** The user's line that wrote the data. */
  readonly source?: string;
  /** The value it is in each recording that has seen it. */
  readonly values: WeakMap<object, ValueId>;
}

/** Every live proxy by dataId. Weak: a proxy dies with its last tensor. */
export const proxies = new WeakMap<DataId, ProxyFacts>();

export function makeProxy(facts: Omit<ProxyFacts, 'references' | 'values'>): DataId {
  const dataId = {};
  proxies.set(dataId, { ...facts, references: 1, values: new WeakMap() });
  return dataId;
}
