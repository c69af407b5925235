/** Where what is built once lies: the same folder that test/cluster/env.sh names. */
import { homedir } from 'node:os'
import { join } from 'node:path'

export const cacheDir = process.env['HUMANIZER_CACHE'] ?? join(homedir(), '.cache', 'humanizer')
/** Programs of Kubernetes, etcd and Helm, put there by test/cluster/build.sh. */
export const binDir = join(cacheDir, 'bin')
