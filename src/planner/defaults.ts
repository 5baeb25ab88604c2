/** The simple rule that fills what the user did not say: degrees from the number of workers, micro-batches from both. */
import { MerakError } from '../errors.js';
import type { Mesh } from '../plan/plan.js';

export interface DegreeRequest {
  /** Default: the product of the degrees given. */
  readonly workers?: number | undefined;
  readonly pp?: number | undefined;
  readonly dp?: number | undefined;
  readonly tp?: number | undefined;
  /** Samples of one step over all workers; the data axis must divide it. */
  readonly batchSize?: number | undefined;
  /** More stages than this the model does not have (Shards.numShards), when known. */
  readonly maxStages?: number | undefined;
}

export interface ChosenDegrees {
  readonly mesh: Mesh;
  /** One sentence that says why. */
  readonly reason: string;
}

/**
 * Workers left over by the degrees given go to the data axis as far as it divides the batch (replicas talk once a step),
 * then to the pipeline as far as there are stages (neighbours exchange one tensor), then to the tensor axis (peers meet
 * in every layer).
 *
 * @throws MerakError 'config/degrees' when the degrees do not multiply to the number of workers.
 */
export function chooseDegrees(request: DegreeRequest): ChosenDegrees {
  const { pp, dp, tp } = request;
  for (const [axis, degree] of Object.entries({ pp, dp, tp, workers: request.workers })) {
    if (degree !== undefined && (!Number.isInteger(degree) || degree < 1)) {
      throw new MerakError('config/degrees', `${axis} is not a positive integer`, {
        path: axis,
        received: String(degree),
      });
    }
  }
  const given = (pp ?? 1) * (dp ?? 1) * (tp ?? 1);
  const workers = request.workers ?? given;
  const product = `pp ${pp ?? '?'} x dp ${dp ?? '?'} x tp ${tp ?? '?'}`;
  const impossible = (hint: string) =>
    new MerakError('config/degrees', `the degrees do not multiply to the number of workers`, {
      expected: `${workers} workers`,
      received: `${product}${pp && dp && tp ? ` = ${given}` : ''}`,
      hint,
    });
  if (workers % given !== 0)
    throw impossible(`choose degrees whose product divides ${workers}, or use --workers ${given}`);

  let rest = workers / given;
  const take = (limit: (degree: number) => boolean): number => {
    const degree = divisors(rest).filter(limit).at(-1) ?? 1;
    rest /= degree;
    return degree;
  };
  const chosenDp = dp ?? take((degree) => request.batchSize === undefined || request.batchSize % degree === 0);
  const chosenPp = pp ?? take((degree) => degree <= (request.maxStages ?? Number.POSITIVE_INFINITY));
  const chosenTp = tp ?? take(() => true);
  if (rest !== 1) throw impossible(`${rest} times as many workers as these degrees use; leave one degree out`);
  const mesh = { pp: chosenPp, dp: chosenDp, tp: chosenTp };
  return { mesh, reason: explainChoice(request, mesh, workers) };
}

function explainChoice(request: DegreeRequest, mesh: Mesh, workers: number): string {
  const said = (['pp', 'dp', 'tp'] as const).filter((axis) => request[axis] !== undefined);
  const filled = (['dp', 'pp', 'tp'] as const).filter((axis) => request[axis] === undefined && mesh[axis] > 1);
  const asked = said.length > 0 ? `${said.map((axis) => `${axis} ${mesh[axis]}`).join(', ')} as asked` : '';
  const why = {
    dp: `dp ${mesh.dp} because replicas talk only once a step`,
    pp: `pp ${mesh.pp} because the batch does not split further and neighbouring stages exchange little`,
    tp: `tp ${mesh.tp} because neither batch nor layers split further`,
  };
  const parts = [asked, ...filled.map((axis) => why[axis])].filter((part) => part !== '');
  return `${workers} ${workers === 1 ? 'worker' : 'workers'}: ${parts.length > 0 ? parts.join('; ') : 'everything in one process'}.`;
}

export interface BatchRequest {
  /** Samples of one step over all workers. */
  readonly batchSize: number;
  readonly mesh: Mesh;
  readonly numMicroBatches?: number | undefined;
}

export interface ChosenBatch {
  readonly numMicroBatches: number;
  readonly microBatchSize: number;
}

/**
 * batchSize = dp x numMicroBatches x microBatchSize. Not given, the micro-batches are one without a pipeline, else the
 * most that divide the batch up to twice the stages, where the idle share (p - 1) / (m + p - 1) falls below a third.
 *
 * @throws MerakError 'config/batch' when the batch does not divide.
 */
export function chooseBatch({ batchSize, mesh, numMicroBatches }: BatchRequest): ChosenBatch {
  const indivisible = (by: number, what: string, hint: string) =>
    new MerakError('config/batch', `a batch of ${batchSize} does not split into ${what}`, {
      path: 'batchSize',
      expected: `a multiple of ${by}`,
      received: String(batchSize),
      hint,
    });
  if (!Number.isInteger(batchSize) || batchSize < 1) throw indivisible(1, 'samples', 'give a positive batch size');
  if (batchSize % mesh.dp !== 0) {
    throw indivisible(
      mesh.dp,
      `${mesh.dp} replicas`,
      `use a batch size that is a multiple of ${mesh.dp}, or a smaller dp`,
    );
  }
  const perReplica = batchSize / mesh.dp;
  const count =
    numMicroBatches ??
    (mesh.pp === 1
      ? 1
      : (divisors(perReplica)
          .filter((d) => d <= 2 * mesh.pp)
          .at(-1) ?? 1));
  if (!Number.isInteger(count) || count < 1 || perReplica % count !== 0) {
    const options = divisors(perReplica).join(', ');
    throw indivisible(
      mesh.dp * count,
      `${mesh.dp} replicas x ${count} micro-batches`,
      `--micro-batches may be ${options}`,
    );
  }
  return { numMicroBatches: count, microBatchSize: perReplica / count };
}

function divisors(number: number): number[] {
  return Array.from({ length: number }, (_, index) => index + 1).filter((candidate) => number % candidate === 0);
}
