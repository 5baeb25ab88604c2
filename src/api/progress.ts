/** What a person watches while training runs: a bar with loss, rate and time left. */
import { SingleBar } from 'cli-progress';
import type { BatchSource } from '../data/source.js';
import type { Logs } from './callbacks.js';
import { median, type Report } from './report.js';

export interface Watch {
  onStep(logs: Logs, size: number, seconds: number): void;
  onEpoch(epoch: number, logs: Logs): void;
  stop(): void;
}

/** Seconds between lines where there is no terminal to redraw. */
const LINE_INTERVAL = 10;
/** Steps the shown rate is averaged over. */
const RATE_WINDOW = 20;

/** Shows training of `source` over `epochs` and collects losses and rates into the report. */
export function watchTraining(source: BatchSource, epochs: number, show: boolean, report: Report): Watch {
  const unit = rateUnit(source);
  const total = source.numBatches === undefined ? undefined : source.numBatches * epochs;
  const bar = show && process.stderr.isTTY === true && total !== undefined ? newBar(unit.name) : undefined;
  bar?.start(total!, 0, { loss: '-', rate: '-', left: '-' });
  const stepEnds: number[] = [performance.now()];
  const sizes: number[] = [];
  let lastLine = performance.now();

  const rate = (from: number): number => {
    const steps = sizes.slice(from);
    const seconds = (stepEnds.at(-1)! - stepEnds[from]!) / 1000;
    return (steps.reduce((sum, size) => sum + size, 0) / seconds) * unit.perSample;
  };
  const left = (): string => {
    if (total === undefined) return '?';
    const from = Math.max(0, sizes.length - RATE_WINDOW);
    const perStep = (stepEnds.at(-1)! - stepEnds[from]!) / 1000 / (sizes.length - from);
    return clock((total - sizes.length) * perStep);
  };
  return {
    onStep(logs, size) {
      stepEnds.push(performance.now());
      sizes.push(size);
      report.data.losses.push(logs.loss ?? Number.NaN);
      const shown = {
        loss: (logs.loss ?? Number.NaN).toFixed(4),
        rate: amount(rate(Math.max(0, sizes.length - RATE_WINDOW))),
        left: left(),
      };
      bar?.update(sizes.length, shown);
      if (show && bar === undefined && performance.now() - lastLine > LINE_INTERVAL * 1000) {
        lastLine = performance.now();
        const of = total === undefined ? '' : `/${total}`;
        process.stderr.write(
          `merak: step ${sizes.length}${of}, loss ${shown.loss}, ${shown.rate} ${unit.name}/s, ${shown.left} left\n`,
        );
      }
    },
    onEpoch(epoch, logs) {
      report.data.epochs.push(logs);
      if (!show) return;
      const text = Object.entries(logs).map(([key, value]) => `${key} ${value.toFixed(4)}`);
      // A running bar owns the line it stands on.
      if (bar !== undefined) process.stderr.write('\n');
      process.stderr.write(`merak: epoch ${epoch + 1}/${epochs}: ${text.join(', ')}\n`);
    },
    stop() {
      bar?.stop();
      if (sizes.length === 0) return;
      // The first step also pays for what happens only once.
      const from = sizes.length > 2 ? 1 : 0;
      report.data.stepSeconds = median(
        sizes.slice(from).map((_, i) => (stepEnds[from + i + 1]! - stepEnds[from + i]!) / 1000),
      );
      report.data.samplesPerSecond = rate(from) / unit.perSample;
      if (unit.name === 'tokens') report.data.tokensPerSecond = rate(from);
    },
  };
}

/** Integer sequences count as tokens, anything else as samples. */
function rateUnit(source: BatchSource): { name: string; perSample: number } {
  const tokens = source.fields.find(({ dtype, shape }) => dtype === 'int32' && shape.length === 1 && shape[0]! > 1);
  return tokens === undefined ? { name: 'samples', perSample: 1 } : { name: 'tokens', perSample: tokens.shape[0]! };
}

function newBar(unit: string): SingleBar {
  const line = `training {bar} {value}/{total} | loss {loss} | {rate} ${unit}/s | {left} left`;
  return new SingleBar({ format: line, barsize: 28, hideCursor: true, stream: process.stderr });
}

function amount(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}

function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}
