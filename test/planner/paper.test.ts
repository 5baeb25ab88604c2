/** docs/paper.md says what its program computes: one of its rows again. After a change of costs run `node --import tsx bench/paper.ts`. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { renderRow } from '../../bench/paper/render.js';
import { experiment } from '../../bench/paper/rows.js';

it('the baseline and stage-aware recomputation of the 1.5 B model are the rows of docs/paper.md', () => {
  const { baseline, row } = experiment('1.5b');
  const text = readFileSync(new URL('../../docs/paper.md', import.meta.url), 'utf8');
  const [megatron, stageAware] = [baseline(), row(1)];
  expect(text).toContain(renderRow(megatron, megatron));
  expect(text).toContain(renderRow(stageAware, megatron));
  expect(stageAware.stepSeconds).toBeLessThan(megatron.stepSeconds);
});
