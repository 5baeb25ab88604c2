/** The last training steps of a profiled run, as every rank recorded them. */
import type { Executable } from '../../plan/plan.js';
import type { StepResult } from '../../runtime/device.js';
import { decodeSpans, type Span } from '../../runtime/spans.js';

/** More would make traces that are slow to open, and says little more. */
const NUM_STEPS = 10;

/** One rank's part of one step. */
export interface RecordedStep {
  readonly executable: Executable;
  /** In the order of their ends; the one of kind 'step' holds all others but those of the helper thread. */
  readonly spans: readonly Span[];
}

export class Recording {
  private readonly steps: { readonly executables: readonly Executable[]; readonly rows: readonly Float64Array[] }[] =
    [];

  /** `executables` and `results` in rank order. */
  add(executables: readonly Executable[], results: readonly StepResult[]): void {
    this.steps.push({ executables, rows: results.map(({ spans = new Float64Array(0) }) => spans) });
    if (this.steps.length > NUM_STEPS) this.steps.shift();
  }

  /** By rank, then step. */
  byRank(): RecordedStep[][] {
    const numRanks = this.steps[0]?.executables.length ?? 0;
    return Array.from({ length: numRanks }, (_, rank) =>
      this.steps.map(({ executables, rows }) => ({
        executable: executables[rank]!,
        spans: decodeSpans(rows[rank]!),
      })),
    );
  }
}
