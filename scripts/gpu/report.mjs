// The report of `npm run gpu` as text for people; the numbers themselves are in the JSON beside it.
const percent = (share) => (share === undefined ? '' : `${(share * 100).toFixed(1)} %`);
const gib = (bytes) => (typeof bytes === 'number' ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : '');

/** `report`: { date, commit, dry, sections: [{ name, status, seconds, result?, error? }] }. */
export function toMarkdown(report) {
  const of = (name) => report.sections.find((section) => section.name === name)?.result;
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
    `- ${machine.kernel ?? ''}; Node ${machine.node}; PyTorch ${machine.torch ?? 'not found'}; ${machine.nvcc ?? 'no nvcc'}`,
  );
  lines.push(`- commit ${report.commit}`, '');
  lines.push('| section | outcome | seconds |', '| --- | --- | ---: |');
  for (const { name, status, seconds, error } of report.sections) {
    lines.push(
      `| ${name} | ${status}${error ? `: ${error.split('\n')[0].replaceAll('|', '/')}` : ''} | ${seconds.toFixed(0)} |`,
    );
  }
  lines.push('');
  const limits = of('limits');
  if (limits?.gemmFlopsPerSecond) {
    lines.push(
      `Measured in this run: bf16 products of 8192 x 8192 random matrices ${(limits.gemmFlopsPerSecond / 1e12).toFixed(0)} TFLOP/s, copies ${(limits.copyBytesPerSecond / 1e12).toFixed(2)} TB/s (read and written).`,
      '',
    );
  }
  for (const name of ['kernels', 'parity']) {
    const result = of(name);
    if (result?.numPassed !== undefined)
      lines.push(
        `${name}: ${result.numPassed} passed, ${result.numFailed} failed, ${result.numSkipped} skipped (${result.files.length} files).`,
      );
  }
  const kernels = of('rooflines')?.rows ?? [];
  if (kernels.length > 0 && !report.dry) {
    lines.push(
      '',
      'Kernels of a step alone (GPT-2 124M, batch 4), and what share of the time they take their bytes and operations would need at the rates above.',
      '',
    );
    lines.push('| kernel | inputs | times | microseconds | share of roofline |', '| --- | --- | ---: | ---: | ---: |');
    for (const { kernel, shapes, count, seconds, share } of kernels.slice(0, 40)) {
      lines.push(`| ${kernel} | ${shapes} | ${count} | ${(seconds * 1e6).toFixed(1)} | ${percent(share)} |`);
    }
    for (const { kernel, message } of of('rooflines').failures)
      lines.push(`| ${kernel} | ${message.replaceAll('|', '/')} | | | |`);
  }
  const rows = of('speed')?.rows ?? [];
  if (rows.length > 0 && !report.dry) {
    lines.push(
      '',
      'GPT-2, bf16, context 1024, random tokens. MFU: 6 N + 12 L H T per token, of 989 TFLOP/s; share of GEMM: of the rate measured above.',
      '',
    );
    lines.push(
      '| size | batch | engine | tokens/s | MFU | share of GEMM | peak memory | start |',
      '| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |',
    );
    for (const row of rows)
      for (const [name, title] of [
        ['merak', 'Merak'],
        ['torch', 'PyTorch eager'],
        ['torchCompile', 'torch.compile'],
      ]) {
        const cell = row[name];
        if (cell === undefined) continue;
        const why = cell.skipped ?? cell.failed?.split('\n')[0].replaceAll('|', '/');
        if (why !== undefined) lines.push(`| ${row.name} | ${row.batchSize} | ${title} | ${why} | | | | |`);
        else {
          const peak = typeof cell.peakBytes === 'object' ? cell.peakBytes?.measured : cell.peakBytes;
          lines.push(
            `| ${row.name} | ${row.batchSize} | ${title} | ${cell.tokensPerSecond.toFixed(0)} | ${percent(cell.mfu)} | ${percent(cell.shareOfGemm)} | ${gib(peak)} | ${cell.startSeconds.toFixed(1)} s |`,
          );
        }
      }
  }
  const curve = of('curve');
  if (curve?.cpu) {
    lines.push(
      '',
      `Loss, ${curve.card.length} steps on ${report.dry ? 'the CPU in the place of the card' : 'the card'} (bf16), ${curve.cpu.length} on the CPU (f32): largest relative difference ${curve.largestRelativeDifference.toExponential(2)}.`,
    );
    lines.push('', '| step | card | CPU |', '| ---: | ---: | ---: |');
    curve.card.forEach((loss, step) => {
      if (step < curve.cpu.length || step % 20 === 0 || step === curve.card.length - 1)
        lines.push(`| ${step} | ${loss.toFixed(4)} | ${curve.cpu[step]?.toFixed(4) ?? ''} |`);
    });
  }
  return `${lines.join('\n')}\n`;
}
