import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

/** The Python of an environment with what the file names; it is made at the first use. */
export const python = (requirements: string): string =>
  execFileSync(join(import.meta.dirname, 'peer/environment.sh'), [requirements], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
