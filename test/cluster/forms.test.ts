/** An adapter in its other forms, on real pods: merged into its base's weights under load, and as a file for llama.cpp. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { before, test } from 'node:test'
import { promisify } from 'node:util'
import { readGguf } from '../../trainer-image/model/gguf.ts'
import { binDir } from '../cache.ts'
import { blocksOf } from './commands.ts'
import { waitFor } from './kubectl.ts'
import type { CustomObject } from './objects.ts'
import { datasetSpec, holds, type Namespace, openWorld, runSpec, type World } from './world.ts'

interface Served {
  readonly digest?: string
  readonly form?: string
  readonly merged?: { readonly path: string; readonly logitError: string; readonly adapterEffect: string }
}

let world: World
let namespace: Namespace
let best: string

const served = ({ status }: CustomObject): Served => (status?.active ?? {}) as Served
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
  await namespace.apply('QLoRARun', 'prose', runSpec(60))
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
