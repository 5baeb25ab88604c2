/** What a worker process is told at birth, by environment variables: never by arguments, which everybody can list. */
export const WORKER_ENVIRONMENT = {
  token: 'MERAK_JOIN_TOKEN',
  address: 'MERAK_COORDINATOR',
  generation: 'MERAK_GENERATION',
  slot: 'MERAK_SLOT',
  parent: 'MERAK_PARENT_PID',
} as const;

export interface Invitation {
  readonly token: string;
  /** 'host:port' of the coordinator. */
  readonly address: string;
  readonly generation: number;
  readonly slot: number;
  /** Process that must live for this worker to live. */
  readonly parent: number;
}

export function environmentOf(invitation: Invitation): Record<string, string> {
  const keys = Object.keys(WORKER_ENVIRONMENT) as (keyof Invitation)[];
  return Object.fromEntries(keys.map((key) => [WORKER_ENVIRONMENT[key], String(invitation[key])]));
}

/** Reads the invitation and removes the token from `environment`; undefined when something is missing. */
export function takeInvitation(environment: NodeJS.ProcessEnv): Invitation | undefined {
  const { token, address, generation, slot, parent } = WORKER_ENVIRONMENT;
  const given = [token, address, generation, slot, parent].map((name) => environment[name]);
  delete environment[token];
  if (given.some((value) => value === undefined || value === '')) return undefined;
  const [theToken, theAddress, theGeneration, theSlot, theParent] = given as [string, string, string, string, string];
  return {
    token: theToken,
    address: theAddress,
    generation: Number(theGeneration),
    slot: Number(theSlot),
    parent: Number(theParent),
  };
}
