import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'

/** The Python of an environment with what the file names; it is made at the first use. */
export const python = (requirements: string): string =>
  execFileSync(join(import.meta.dirname, 'peer/environment.sh'), [requirements], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()

/** Whether that environment has a module: some peers are left out where Python is too old for them. */
export const hasModule = (requirements: string, name: string): boolean =>
  spawnSync(python(requirements), ['-c', `import ${name}`], { stdio: 'ignore' }).status === 0
