/** An adapter in its other forms, on real pods: merged into its base's weights under load, as a file for llama.cpp, and in a registry. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { before, test } from 'node:test'
import { promisify } from 'node:util'
import { readGguf } from '../../trainer-image/model/gguf.ts'
import { binDir } from '../cache.ts'
import { dockerConfig, withPassword } from '../fixtures/registry.ts'
import { blocksOf } from './commands.ts'
import { waitFor } from './kubectl.ts'
import type { CustomObject } from './objects.ts'
import { startRegistry } from './registry.ts'
import { condition, datasetSpec, holds, type Namespace, openWorld, runSpec, type World } from './world.ts'

interface Served {
  readonly digest?: string
  readonly form?: string
  readonly merged?: { readonly path: string; readonly logitError: string; readonly adapterEffect: string }
}

interface Pushed {
  readonly artifact: string
  readonly reference: string
}
interface Layer {
  readonly digest: string
  readonly size: number
  readonly annotations: Readonly<Record<string, string>>
}

let world: World
let namespace: Namespace
let best: string

const served = ({ status }: CustomObject): Served => (status?.active ?? {}) as Served
const pushedOf = ({ status }: CustomObject): readonly Pushed[] =>
  (status as { readonly pushed?: readonly Pushed[] }).pushed ?? []
const nameOf = ({ annotations }: Layer): string => annotations['org.opencontainers.image.title'] ?? ''
const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const until = (what: string, probe: (release: CustomObject) => boolean): Promise<CustomObject> =>
  namespace.until('arl', 'writer', what, 300, (release) => probe(release) && holds(release, 'Ready'))

/** Asks over and over by way of the Service, whose pods change, each time on a connection of its own; prints a line for each answer. */
const asking = `
import { request } from 'node:http'
const answer = () => new Promise((resolve) =>
  request(process.argv[1], { method: 'POST', agent: false }, (answer) =>
    answer.resume().once('end', () => resolve(answer.statusCode + ' ' + answer.headers['x-humanizer-adapter-digest'])),
  ).once('error', resolve).end('{"text": "the weather be nice", "max_tokens": 4}'))
for (;;) {
  console.log(String(await answer()))
  await new Promise((resolve) => setTimeout(resolve, 100))
}`

interface Asking {
  readonly answers: readonly string[]
  stop(): void
}
async function ask(): Promise<Asking> {
  const ip = await namespace.kubectl(['get', 'service', 'writer', '--output=jsonpath={.spec.clusterIP}'])
  const answers: string[] = []
  const program = ['--input-type=module', '--eval', asking, `http://${ip}:8000/v1/rewrite`]
  const child = world.startInNetwork(process.execPath, program)
  createInterface(child.stdout!).on('line', (line) => answers.push(line))
  return { answers, stop: () => child.kill('SIGKILL') }
}

before(async () => {
  world = await openWorld()
  namespace = await world.openNamespace('forms')
  await namespace.apply('HumanizerDataset', 'prose', datasetSpec())
  await namespace.apply('QLoRARun', 'prose', runSpec(20))
  await namespace.apply('AdapterRelease', 'writer', { source: { run: { name: 'prose', checkpoint: 'Best' } } })
  const run = await namespace.ready('qlr', 'prose', 300)
  best = run.status?.checkpoints?.find((each) => each.best)?.digest ?? assert.fail('no checkpoint is best')
  await namespace.ready('arl', 'writer')
})

test('what docs/llama-cpp.md says to type in a serving pod gives the adapter that it serves', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'humanizer-forms-'))
  try {
    const text = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'llama-cpp.md'), 'utf8')
    const command = blocksOf(text).find((block) => block.startsWith('kubectl exec'))
    const kubectl = `kubectl() { command kubectl --namespace forms "$@"; }`
    await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', `${kubectl}\n${command}`], {
      cwd: folder,
      env: { ...process.env, PATH: `${binDir}:${process.env['PATH']}`, KUBECONFIG: world.cluster.kubeconfig },
    })
    const { metadata, tensors } = await readGguf(join(folder, 'adapter.gguf'))
    assert.equal(metadata.get('humanizer.adapter.digest'), best)
    assert.equal(tensors.size, 2 * 7 * 2)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('the merged form takes over without a lost request, and the adapter again', async (t) => {
  const { answers, stop } = await ask()
  try {
    await waitFor('an answer', 60, async () => answers[0])
    await namespace.patch('arl', 'writer', { form: 'Merged' })
    const merged = await until('to serve merged weights', (release) => served(release).form === 'Merged')
    const { path = '', logitError = '', adapterEffect = '' } = served(merged).merged ?? {}
    assert.match(path, /^merged\/[0-9a-f]{64}$/)
    assert.ok(namespace.files(path).includes('model.safetensors'))
    t.diagnostic(`logits are ${logitError} from those of base and adapter, the base's own ${adapterEffect}`)
    await namespace.patch('arl', 'writer', { form: 'Adapter' })
    await until('to serve the adapter', (release) => served(release).form === undefined)
  } finally {
    stop()
  }
  assert.deepEqual([...new Set(answers)], [`200 ${best}`])
  t.diagnostic(`${answers.length} requests were answered`)
})

test('a pod pushes what serves to a registry with a password; another artifact sends only what is not there', async (t) => {
  const registry = await startRegistry(world.cluster.runDir!, withPassword)
  t.after(() => registry.stop())
  const host = registry.hostOfPods
  const get = async (path: string): Promise<Buffer> => {
    const authorization = `Basic ${Buffer.from('writer:secret').toString('base64')}`
    const accept = 'application/vnd.oci.image.manifest.v1+json'
    const answer = await fetch(`http://${registry.host}/v2/team/writer/${path}`, { headers: { authorization, accept } })
    assert.equal(answer.status, 200, path)
    return Buffer.from(await answer.arrayBuffer())
  }
  const digestsOf = async (reference: string): Promise<readonly Layer[]> => {
    const [, digest = ''] = reference.split(`${host}/team/writer@`)
    const manifest = await get(`manifests/${digest}`)
    assert.equal(sha256(manifest), digest)
    const { layers } = JSON.parse(manifest.toString()) as { layers: Layer[] }
    return layers
  }
  const folderHas = (folder: string, layers: readonly Layer[]): void => {
    const files = namespace.files(folder).filter((name) => name !== 'owners')
    assert.deepEqual(layers.map(nameOf).sort(), files.sort())
    for (const layer of layers) {
      const bytes = readFileSync(join(namespace.folder, folder, nameOf(layer)))
      assert.deepEqual([layer.digest, layer.size], [sha256(bytes), bytes.length], nameOf(layer))
    }
  }
  const secret = `--from-literal=.dockerconfigjson=${dockerConfig(host)}`
  await namespace.kubectl(['create', 'secret', 'generic', 'registry', '--type=kubernetes.io/dockerconfigjson', secret])
  const push = async (artifact: string): Promise<string> => {
    const to = { repository: `${host}/team/writer`, plainHttp: true, secretRef: { name: 'registry' } }
    await namespace.patch('arl', 'writer', { push: { artifact, registry: to } })
    const told = (release: CustomObject): string => condition(release, 'Pushed')?.message ?? ''
    const isPushed = (release: CustomObject): boolean =>
      pushedOf(release).some((each) => each.artifact === artifact && each.reference === told(release))
    const release = await namespace.until('arl', 'writer', `to be pushed as ${artifact}`, 120, isPushed)
    assert.ok(holds(release, 'Pushed'))
    return told(release)
  }

  const reference = await push('Adapter')
  const adapter = await digestsOf(reference)
  folderHas(`adapters/${best.replace('sha256:', '')}`, adapter)
  const weights = adapter.find((layer) => nameOf(layer) === 'adapter_model.safetensors')!
  assert.equal(sha256(await get(`blobs/${weights.digest}`)), weights.digest)
  const events = await namespace.kubectl([
    'get',
    'events',
    '--field-selector=reason=Pushed',
    '--output=jsonpath={..message}',
  ])
  assert.ok(events.includes(reference), events)

  const merged = await digestsOf(await push('Merged'))
  const [folder = ''] = namespace.files('merged').filter((name) => /^[0-9a-f]{64}$/.test(name))
  folderHas(`merged/${folder}`, merged)
  assert.equal(await push('Adapter'), reference)

  const sent = [...registry.log().matchAll(/"PUT [^"]*[?&]digest=sha256%3A([0-9a-f]{64})[^"]*" 201/g)]
  const layers = new Set([...adapter, ...merged].map(({ digest }) => digest))
  assert.ok(layers.size < adapter.length + merged.length, 'the two have files in common')
  const empty = sha256(Buffer.from('{}'))
  assert.deepEqual(sent.map(([, hex]) => `sha256:${hex}`).sort(), [...layers, empty].sort(), 'each was sent once')
})
