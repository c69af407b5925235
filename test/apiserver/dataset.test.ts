/** A dataset under the real operator, prepared by the real trainer process at an address of its own. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import type { KubeObject } from '../../operator/kube/cluster.ts'
import { binDir } from '../cache.ts'
import { spawnTied } from '../child.ts'
import { type ApiServer, until } from './api-server.ts'
import { operatorHere } from './operator-here.ts'
import { Kubelet } from './run-kubelet.ts'
import { readyOf, reasonOf, User } from './run-objects.ts'
import { sharedApiServer } from './shared-api-server.ts'

const root = join(import.meta.dirname, '..', '..')
const corpus = readFileSync(join(root, 'test', 'fixtures', 'prose.jsonl'))
const half = Math.floor(corpus.length / 2)
const folder = mkdtempSync(join(tmpdir(), 'humanizer-dataset-'))
/** Downloads that got the first half and wait for the second. */
const waiting: ServerResponse[] = []
const files = createServer((_, response) => {
  response.writeHead(200, { 'content-length': corpus.length })
  response.write(corpus.subarray(0, half))
  waiting.push(response)
})
let server: ApiServer

before(async () => {
  server = await sharedApiServer()
  files.listen(0, '127.0.0.1')
  await once(files, 'listening')
})
after(async () => {
  files.closeAllConnections()
  files.close()
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

interface CopiedPod {
  readonly containers: readonly { readonly command: readonly string[] }[]
  readonly volumes: readonly { readonly persistentVolumeClaim?: { readonly claimName: string } }[]
}

/** An address that no other test file listens at. */
const address = `127.${1 + ((process.pid >> 8) % 254)}.${process.pid & 255}.1`

/** What the container of a preparing pod does, with the attempt's own configuration. Resolves to its termination message. */
async function prepares(user: User, name: string, job: string): Promise<object> {
  const { metadata } = await user.get<KubeObject>('pods', name)
  const { data } = await user.get<KubeObject & { data: Record<string, string> }>('configmaps', job)
  const [config, log] = [join(folder, 'config.json'), join(folder, 'termination-log')]
  writeFileSync(config, data['config.json'] ?? '')
  const args = ['prepare', '--config', config, '--data', folder, '--termination-log', log, '--host', address]
  const child = spawnTied(process.execPath, [join(root, 'trainer-image', 'main.ts'), ...args], {
    env: { ...process.env, POD_UID: metadata.uid ?? '', LOG_LEVEL: 'error' },
    stdio: 'inherit',
  })
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
  return JSON.parse(readFileSync(log, 'utf8'))
}

test('a dataset tells how far it is, then where its report is, and is approved by the line that stands there', async () => {
  const namespace = await server.namespace()
  const user = new User(server.client(), namespace)
  await using kubelet = new Kubelet(server.client(), namespace, () => ({ kind: 'run', ip: address }))
  await using operator = await operatorHere(server, namespace)
  const { port } = files.address() as AddressInfo
  const http = {
    url: `http://127.0.0.1:${port}/prose.jsonl`,
    sha256: createHash('sha256').update(corpus).digest('hex'),
  }
  const sources = [{ name: 'prose', http, license: 'CC0-1.0' }]
  await user.create('HumanizerDataset', 'prose', { sources, review: { required: true } })
  await operator.ready()
  await until('the pod was made', () => kubelet.seen.length > 0)
  const pod = kubelet.seen[0]!
  const prepared = prepares(user, pod.name, pod.job)
  const progress = async () => (await user.dataset()).status?.progress
  await until('half of the source is here', async () => (await progress())?.bytes === half)
  const { updateTime, ...heard } = (await progress())!
  assert.deepEqual(heard, {
    stage: 'Reading',
    source: 'prose',
    rows: 0,
    bytes: half,
    totalBytes: corpus.length,
    percent: '9%',
    ...(heard.remaining && { remaining: heard.remaining }),
  })
  const { stdout: row } = await kubectl(`kubectl --namespace ${namespace} get hds`)
  assert.match(row, /READY +REASON +PROGRESS[\s\S]*False +Preparing +9%/)

  for (const response of waiting) response.end(corpus.subarray(half))
  await kubelet.end(pod.name, { kind: 'end', exitCode: 0, result: await prepared })
  await until('the dataset is prepared', async () => reasonOf(await user.dataset()) === 'Prepared')
  const { status } = await user.dataset()
  assert.equal(status?.progress, undefined)
  const report = `${status?.location}/report.html`
  const said = (await user.list<KubeObject & { reason: string; message: string }>('events')).find(
    ({ reason }) => reason === 'Prepared',
  )
  assert.ok(said?.message.includes(`report: ${report} on claim humanizer; runs wait until`), said?.message)

  // What docs/datasets.md has a reader type, as far as it needs no node: a copy of the pod that prints the page from the same volume.
  const typed = readFileSync(join(root, 'docs', 'datasets.md'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('    '))
  const [from, to] = ['    folder=', '    kubectl wait --for=jsonpath'].map((begin) =>
    typed.findIndex((line) => line.startsWith(begin)),
  )
  const inNamespace = `kubectl() { command kubectl --namespace ${namespace} "$@"; }`
  await kubectl([inNamespace, ...typed.slice(from, to)].join('\n'))
  const copy = await user.get<KubeObject & { spec: CopiedPod }>('pods', 'report')
  assert.deepEqual(copy.spec.containers[0]?.command, [
    'node',
    '-e',
    `console.log(fs.readFileSync('/data/${report}', 'utf8'))`,
  ])
  assert.ok(copy.spec.volumes.some(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName === 'humanizer'))
  assert.equal(copy.metadata.labels?.['humanizer.dev/dataset'], undefined)

  const page = readFileSync(join(folder, report), 'utf8')
  const line = /<pre>(.*)<\/pre>/.exec(page)?.[1]?.replaceAll('&quot;', '"')
  await kubectl(line ?? '')
  await until('the approval is seen', async () => !readyOf(await user.dataset())?.message.includes('runs wait'))
  assert.equal((await user.dataset()).spec.review.approvedDigest, status?.digest)
})

/** Types a command as the cluster's administrator. */
const kubectl = (command: string) =>
  promisify(execFile)('bash', ['-euo', 'pipefail', '-c', command], {
    env: { ...process.env, PATH: `${binDir}:${process.env['PATH']}`, KUBECONFIG: server.kubeConfigFile() },
  })
