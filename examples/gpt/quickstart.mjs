// `npm run quickstart`: shows the plan, then trains on eight workers. Short windows make many small steps: in a minute and a
// half those teach more than a few large ones.
import { spawnSync } from 'node:child_process';

const flags = ['--workers', '8', '--explain', '--report', 'runs/quickstart.json'];
const script = ['--seconds', '90', '--steps', '1500', '--context', '32', '--rate', '1e-3'];
const args = ['bin/merak.mjs', 'launch', ...flags, 'examples/gpt/train.ts', '--', ...script];
process.exit(spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1);
