// The report of `npm run gpu` as text for people; the numbers themselves are in the JSON beside it.
import { kernelErrors, operations, rooflines, whereTimeGoes } from './reportKernels.mjs';
import { speed } from './reportSpeed.mjs';
import { gib, inCell } from './units.mjs';

/** `report`: { date, commit, dry, sections: [{ name, status, seconds, result?, error? }] }. */
export function toMarkdown(report) {
  const of = (name) => report.sections.find((section) => section.name === name)?.result;
  const named = (prefix) =>
    report.sections.filter(({ name, result }) => name.startsWith(prefix) && result !== undefined);
  const lines = [...head(report, of), ...checks(of)];
  if (!report.dry) {
    const rows = named('speed').map(({ result }) => result);
    lines.push(...speed(rows));
    for (const { name, result } of named('rooflines')) {
      const size = name.split(' ')[1];
      lines.push(
        ...whereTimeGoes(
          size,
          result,
          rows.find((row) => row.name === size),
        ),
        ...rooflines(size, result),
      );
    }
    for (const { name, result } of named('profile')) lines.push(...operations(name.split(' ')[1], result.operations));
  }
  return `${[...lines, ...losses(report.dry, of('curve'))].join('\n')}\n`;
}

function head(report, of) {
  const lines = [`# npm run gpu, ${report.date}`, ''];
  if (report.dry)
    lines.push(
      '**A dry run on the CPU: every step up to the first CUDA call, and stand-in libraries after it. No GPU figure is in here.**',
      '',
    );
  const { devices = [], libraries = [] } = of('doctor') ?? {};
  for (const { name, capability, totalBytes } of devices)
    lines.push(`- device: ${name}, compute capability ${capability}, ${gib(totalBytes)}`);
  for (const { name, version, path } of libraries) if (path) lines.push(`- ${name} ${version} (${path})`);
  const machine = of('machine') ?? {};
  lines.push(
    `- ${machine.kernel ?? ''}; ${machine.cores ?? '?'} cores; Node ${machine.node}; PyTorch ${machine.torch ?? 'not found'}; ${machine.nvcc ?? 'no nvcc'}`,
    `- commit ${report.commit}`,
    '',
    '| section | outcome | seconds |',
    '| --- | --- | ---: |',
    ...report.sections.map(
      ({ name, status, seconds, error }) =>
        `| ${name} | ${status}${error ? `: ${inCell(error)}` : ''} | ${seconds.toFixed(0)} |`,
    ),
    '',
  );
  return lines;
}

function checks(of) {
  const lines = [];
  const limits = of('limits');
  if (limits?.gemmFlopsPerSecond)
    lines.push(
      `Measured in this run: bf16 products of 8192 x 8192 random matrices ${(limits.gemmFlopsPerSecond / 1e12).toFixed(0)} TFLOP/s, copies ${(limits.copyBytesPerSecond / 1e12).toFixed(2)} TB/s (read and written).`,
      '',
    );
  for (const name of ['kernels', 'parity']) {
    const result = of(name);
    if (result?.numPassed === undefined) continue;
    lines.push(
      `${name}: ${result.numPassed} passed, ${result.numFailed} failed, ${result.numSkipped} skipped (${result.files.length} files, MERAK_SEED=${result.seed}).`,
      ...result.failures.map((failure) => `- ${inCell(failure)}`),
    );
  }
  lines.push(...kernelErrors(of('kernels')?.relativeErrors ?? []));
  const sanitized = of('sanitizer')?.files;
  if (sanitized) {
    lines.push('', 'compute-sanitizer (memcheck) over the kernel tests, errors by file:');
    for (const { file, numErrors } of sanitized) lines.push(`- ${file}: ${numErrors ?? 'it did not end'}`);
  }
  const [two] = of('nccl')?.twoRanksOnOneGpu ?? [];
  if (two)
    lines.push(
      '',
      `NCCL: collectives of one rank agree; of two ranks on one GPU it says: ${inCell(two.message ?? 'done')}`,
    );
  const memory = of('nccl')?.memory ?? [];
  const [taken] = memory.map(({ result }) => result);
  if (taken) {
    const [joined, summed, sent, planned] = [taken.joined, taken.summed, taken.sent, taken.planned].map((bytes) =>
      Math.round(bytes / 2 ** 20),
    );
    lines.push(
      `NCCL took of a card, of ${memory.length} rank(s): ${joined} MiB to join, ${summed} MiB after an all-reduce, ${sent} MiB after messages; plans count ${planned} MiB (src/planner/costs/communicatorBytes.ts).`,
    );
  }
  return lines;
}

function losses(isDry, curve) {
  if (curve?.card === undefined) return [];
  const { card, cpu = [], largestRelativeDifference } = curve;
  const where = isDry ? 'the CPU in the place of the card' : 'the card';
  const difference =
    largestRelativeDifference === undefined
      ? ''
      : `: largest relative difference ${largestRelativeDifference.toExponential(2)}`;
  const rows = card.flatMap((loss, step) =>
    step < cpu.length || step % 20 === 0 || step === card.length - 1
      ? [`| ${step} | ${loss.toFixed(4)} | ${cpu[step]?.toFixed(4) ?? ''} |`]
      : [],
  );
  return [
    '',
    `Loss, ${card.length} steps on ${where} (bf16), ${cpu.length} on the CPU (f32)${difference}.`,
    '',
    '| step | card | CPU |',
    '| ---: | ---: | ---: |',
    ...rows,
  ];
}
