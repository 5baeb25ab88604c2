/** Where the measurements of this machine lie, and reading them. */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Profile, parseProfile } from './profile.js';

/** Unless another file is named: MERAK_PROFILE, else in the user's cache. */
export function profilePath(): string {
  const override = process.env.MERAK_PROFILE;
  return override !== undefined && override !== '' ? override : join(homedir(), '.cache', 'merak', 'profile.json');
}

/** What `merak profile` measured here; undefined when it never ran. @throws MerakError 'config/invalid'. */
export function readProfile(path: string = profilePath()): Profile | undefined {
  return existsSync(path) ? parseProfile(readFileSync(path, 'utf8'), path) : undefined;
}
