/** Malformed plans end in typed errors, never in a crash: real plans with a few fields changed, fed to the engine in other processes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const SCRIPT = fileURLToPath(new URL('./fixtures/fuzzPlans.ts', import.meta.url));
const LIMIT_MS = 100_000;

interface Outcome {
  readonly outcomes: readonly string[];
  readonly ending: string;
  readonly text: string;
}

async function fuzz(seed: number, numCases: number): Promise<Outcome> {
  const child = spawn(process.execPath, ['--import', 'tsx', SCRIPT, String(seed), String(numCases)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MS,
  });
  let text = '';
  let complaints = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  const outcomes = text.split('\n').flatMap((line) => (line.endsWith('}') ? [JSON.parse(line).outcome as string] : []));
  return { outcomes, ending: signal ?? `code ${code}`, text: `${text.slice(-200)}\n${complaints.slice(-2000)}` };
}

/** MERAK_CASES raises the number of plans per seed. */
const NUM_CASES = Math.max(150, Number(process.env.MERAK_CASES ?? 0));

describe('a malformed plan', () => {
  for (const seed of [1, 2]) {
    it(`is refused or runs, ${NUM_CASES} plans of seed ${seed}`, async () => {
      const { outcomes, ending, text } = await fuzz(seed, NUM_CASES);
      expect(ending, text).toBe('code 0');
      expect(outcomes).toHaveLength(NUM_CASES);
      expect(outcomes.filter((outcome) => outcome.startsWith('untyped'))).toEqual([]);
      const refused = outcomes.filter((outcome) => outcome !== 'ran' && outcome !== 'TypeError');
      expect(refused.length).toBeGreaterThan(NUM_CASES / 10);
      expect(outcomes).toContain('plan/invalid');
    });
  }
});
