// `npm run quickstart`: what would run where, then training on eight workers.
import { spawnSync } from 'node:child_process';

const merak = (command, ...more) =>
  spawnSync(process.execPath, ['bin/merak.mjs', command, 'examples/gpt/train.ts', '--workers', '8', ...more], {
    stdio: 'inherit',
  }).status;

process.exit(merak('launch', '--explain', '--report', 'runs/quickstart.json'));
