/** Types a command of a document as its reader would, with the real kubectl on this API server. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { binDir } from '../cache.ts'
import { blocksOf } from '../cluster/commands.ts'
import type { ApiServer } from './api-server.ts'

const root = join(import.meta.dirname, '..', '..')

/** The lines of docs/<name> that begin so. */
export function linesOf(name: string, begins: string): string[] {
  const lines = blocksOf(readFileSync(join(root, 'docs', name), 'utf8')).flatMap((block) => block.split('\n'))
  const found = lines.filter((line) => line.startsWith(begins))
  if (found.length === 0) throw new Error(`docs/${name} has no line that begins with "${begins}"`)
  return found
}

interface Desk {
  readonly namespace: string
  readonly env?: Readonly<Record<string, string>>
  /** Content of ~/.docker/config.json. */
  readonly docker?: string
  /** There is no kubelet: what `kubectl exec POD -- node /app/…` runs gets these options beside its own, on this machine. */
  readonly inPod?: string
}

/** Resolves what it printed. `kubectl exec` is answered here, everything else by kubectl. */
export async function type(
  server: ApiServer,
  command: string,
  { namespace, env, docker, inPod }: Desk,
): Promise<string> {
  const home = mkdtempSync(join(tmpdir(), 'humanizer-desk-'))
  try {
    mkdirSync(join(home, '.docker'))
    if (docker) writeFileSync(join(home, '.docker', 'config.json'), docker)
    writeFileSync(join(home, 'kubeconfig'), server.kubeConfig())
    const script = `
      kubectl() {
        if [ "$1" != exec ]; then command kubectl --namespace "$NAMESPACE" "$@"; return; fi
        [ "$2" = -i ] && [ "$4 $5" = "-- node" ] || { echo "not understood: $*" >&2; return 1; }
        command kubectl --namespace "$NAMESPACE" get "\${3/deploy/deployment}" --output name >&2
        "$NODE" "\${6/#\\/app/$PROJECT}" "\${@:7}" $IN_POD
      }
      ${command}`
    const options = {
      cwd: home,
      timeout: 120_000,
      env: {
        ...process.env,
        ...env,
        PATH: `${binDir}:${process.env['PATH']}`,
        HOME: home,
        KUBECONFIG: join(home, 'kubeconfig'),
        NAMESPACE: namespace,
        NODE: process.execPath,
        PROJECT: root,
        IN_POD: inPod ?? '',
      },
    }
    const { stdout } = await promisify(execFile)('bash', ['--norc', '-euo', 'pipefail', '-c', script], options)
    return stdout
  } finally {
    rmSync(home, { recursive: true })
  }
}
