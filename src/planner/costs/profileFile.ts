/** Where the measurements of this machine lie, and reading them. */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { PROFILE_VERSION, type Profile, parseProfile } from './profile.js';

/** Unless another file is named: MERAK_PROFILE, else in the user's cache. */
export function profilePath(): string {
  const override = process.env.MERAK_PROFILE;
  return override !== undefined && override !== '' ? override : join(homedir(), '.cache', 'merak', 'profile.json');
}

/**
 * What `merak profile` measured here; undefined when it never ran, or was of another version, which standard error then says:
 * an upgrade must not stop a run. @throws MerakError 'config/invalid' for a file that is none.
 */
export function readProfile(path: string = profilePath()): Profile | undefined {
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, 'utf8');
  const version = /"version":\s*(\d+)/.exec(text)?.[1];
  if (version === undefined || version === String(PROFILE_VERSION)) return parseProfile(text, path);
  process.stderr.write(
    `merak: ${path} is a profile of version ${version}: planning without it; measure again with \`merak profile\`\n`,
  );
  return undefined;
}
