/** Adapters whose files are not what is said of them, given to a real serving pod: each is refused in words, and what served serves on. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { appendFile, cp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import { createPodCaller } from '../../operator/release/pod-caller.ts'
import { createTrust } from '../../operator/trust/trust.ts'
import { ServingProcesses } from '../bench/serving-processes.ts'
import { dockerConfig, startRegistry, withPassword } from '../fixtures/registry.ts'
import { type Checkpoint, Claim, quantization } from '../wire/serving-pod.ts'
import type { ApiServer } from './api-server.ts'
import { conditionOf, ReleaseScene } from './release-scene.ts'
import { sharedApiServer } from './shared-api-server.ts'
import { linesOf, type } from './typing.ts'

let server: ApiServer
let scene: ReleaseScene
let claim: Claim
let processes: ServingProcesses
let good: Checkpoint

before(async () => {
  server = await sharedApiServer()
  scene = await ReleaseScene.begin(server)
  await scene.pods.stop() // real ones take their place
  claim = await Claim.create()
  processes = new ServingProcesses(scene.client, scene.namespace, claim.root, claim.dataDir, 8000)
  good = await claim.checkpoint('good', 1)
  await run('good', good)
  await scene.apply({ source: { run: { name: 'good', checkpoint: 'Best' } } })
  await scene.untilReady('True/Serving', { limitSeconds: 60 })
})
after(async () => {
  await scene?.end()
  await processes?.stop()
  await server.stop()
  await claim?.remove()
})

/** A run that has ended and says that this is its best checkpoint. */
const run = (name: string, { digest, path }: Checkpoint): Promise<void> =>
  scene.endedRun(name, {
    model: { path: 'models/tiny-llama', digest: claim.base.digest, name: 'tiny-llama' },
    checkpoints: [{ name: 'checkpoint-2', step: 2, digest, path, best: true }],
  })

const file = ({ path }: Checkpoint, name: string): string => join(claim.dataDir, path, name)

interface Lie {
  readonly what: string
  /** The checkpoint that is lied about; what the run says of it, where that is another one. */
  readonly make: (name: string) => Promise<Checkpoint>
  readonly reason: string
  readonly says: RegExp
}
/** A checkpoint that is spoilt once it is sealed. */
const spoilt =
  (seed: number, spoil: (checkpoint: Checkpoint) => Promise<unknown>) =>
  async (name: string): Promise<Checkpoint> => {
    const checkpoint = await claim.checkpoint(name, seed)
    await spoil(checkpoint)
    return checkpoint
  }

const lies: readonly Lie[] = [
  {
    what: 'a checkpoint that never was',
    make: async () => ({ digest: `sha256:${'0'.repeat(64)}`, path: 'runs/test/none/uid/checkpoint-2' }),
    reason: 'ArtifactMissing',
    says: /adapters\/0+ does not exist and runs\/test\/none\/uid\/checkpoint-2 is not a sealed checkpoint/,
  },
  {
    what: 'a file that is missing',
    make: spoilt(3, (each) => rm(file(each, 'adapter_model.safetensors'))),
    reason: 'ArtifactMissing',
    says: /adapter_model\.safetensors is missing; the manifest lists it/,
  },
  {
    what: 'a file that was cut short',
    make: spoilt(4, (each) => truncate(file(each, 'adapter_model.safetensors'), 1000)),
    reason: 'LoadFailed',
    says: /holds adapter sha256:\w+, expected sha256:/,
  },
  {
    what: 'a file with a byte more',
    make: spoilt(5, (each) => appendFile(file(each, 'adapter_config.json'), ' ')),
    reason: 'LoadFailed',
    says: /holds adapter sha256:\w+, expected sha256:/,
  },
  {
    what: 'a manifest that was cut short',
    make: spoilt(6, (each) => truncate(file(each, 'manifest.json'), 200)),
    reason: 'LoadFailed',
    says: /manifest\.json is not JSON/,
  },
  {
    what: 'a manifest that names files beyond its folder',
    make: spoilt(7, async (each) => {
      const manifest = JSON.parse(await readFile(file(each, 'manifest.json'), 'utf8'))
      manifest.files['../../../../../models/tiny-llama/tokenizer.json'] = manifest.files['tokenizer.json']
      await writeFile(file(each, 'manifest.json'), JSON.stringify(manifest))
    }),
    reason: 'LoadFailed',
    says: /manifest\.json has a bad entry "\.\.\//,
  },
  {
    what: 'the digest of another adapter',
    make: async (name) => ({ ...(await claim.checkpoint(name, 8)), digest: `sha256:${'1'.repeat(64)}` }),
    reason: 'LoadFailed',
    says: /holds adapter sha256:\w+, expected sha256:1{64}/,
  },
  {
    what: 'the weights of another checkpoint under its own manifest',
    make: spoilt(9, async (each) => {
      const other = await claim.checkpoint('other', 10)
      await cp(file(other, 'adapter_model.safetensors'), file(each, 'adapter_model.safetensors'))
    }),
    reason: 'LoadFailed',
    says: /holds adapter sha256:\w+, expected sha256:/,
  },
  {
    what: 'an adapter of another base',
    make: (name) => claim.checkpoint(name, 11, { base: { digest: `sha256:${'f'.repeat(64)}`, quantization } }),
    reason: 'LoadFailed',
    says: /was trained on base sha256:f{64}, this pod serves base sha256:/,
  },
  {
    what: 'a loss that it does not have on its canary set',
    make: (name) =>
      claim.checkpoint(name, 12, {
        canary: async () => ({
          backend: 'CPU',
          instructionPath: 'avx2',
          texts: [{ id: 'one', text: 'x', tokens: [5, 6, 7, 8, 9], promptTokens: 2, loss: 0.5, baseLoss: 0.7 }],
        }),
      }),
    reason: 'CanaryFailed',
    says: /canary text one: loss \d\.\d+ here .*, 0\.50000 when it was sealed .*the untouched base differs as well/,
  },
]

for (const [index, { what, make, reason, says }] of lies.entries())
  test(`a run that left ${what} is refused, and what served serves on`, async () => {
    const name = `lie-${String.fromCharCode(97 + index)}`
    const checkpoint = await make(name)
    await run(name, checkpoint)
    await scene.apply({ source: { run: { name, checkpoint: 'Best' } } })
    const { status } = await scene.untilReady(`False/${reason}`, { limitSeconds: 30 }).catch(async (error) => {
      throw new Error(`${error.message}\n${JSON.stringify((await scene.get()).status?.verdict)}`)
    })
    assert.match(conditionOf((await scene.get())!, 'Stalled')?.message ?? '', says)
    assert.deepEqual([status?.active?.digest, status?.candidate?.digest], [good.digest, checkpoint.digest])
    assert.ok(!status?.history?.some(({ digest }) => digest === checkpoint.digest))
    const [url] = processes.urls
    const answer = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'writer', prompt: 'The', max_tokens: 2 }),
    })
    assert.deepEqual([answer.status, answer.headers.get('x-humanizer-adapter-digest')], [200, good.digest])
  })

test('what docs/push.md says to type in a serving pod pushes what it serves, with the credentials of the reader', async () => {
  const registry = await startRegistry(claim.root, withPassword)
  try {
    const { status } = await scene.get()
    const folder = join(claim.root, status?.pods?.[0]?.uid ?? '')
    const files = `--data ${claim.dataDir} --config ${folder}/config.json --desired ${folder}/desired.json`
    const [line = ''] = linesOf('push.md', 'kubectl exec')
    const reference = await type(server, line.replace('host/repository', `${registry.host}/team/writer`), {
      namespace: scene.namespace,
      docker: dockerConfig(registry.host),
      inPod: `${files} --plain-http`,
    })
    const [, digest] = reference.trim().split('@')
    const headers = {
      authorization: `Basic ${Buffer.from('writer:secret').toString('base64')}`,
      accept: 'application/vnd.oci.image.manifest.v1+json',
    }
    const answer = await fetch(`http://${registry.host}/v2/team/writer/manifests/${digest}`, { headers })
    const { annotations } = (await answer.json()) as { annotations: Record<string, string> }
    assert.equal(annotations['dev.humanizer.digest'], status?.active?.digest)
  } finally {
    registry.stop()
  }
})

test('an order signed with another key changes nothing', async () => {
  await scene.apply({ source: { run: { name: 'good', checkpoint: 'Best' } } })
  const { status } = await scene.untilReady('True/Serving')
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const stranger = createTrust({
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }) as string,
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    callTimeoutMs: 2000,
  })
  const other = await claim.checkpoint('strangers', 13)
  const generation = (status?.switchGeneration ?? 0) + 1
  const [pod] = status?.pods ?? []
  const ip = new URL(processes.urls[0]!).hostname
  const ownerUid = (await scene.get()).metadata.uid ?? ''
  const address = { ip, uid: pod?.uid ?? '', ownerUid }
  const caller = createPodCaller(stranger)
  await caller.activate(
    address,
    DesiredAdapter.fromPartial({ generation, digest: other.digest, sourcePath: other.path }),
  )
  const { state } = await caller.state(address, 8000)
  assert.deepEqual([state?.digest, state?.generation], [good.digest, status?.active?.generation])
  stranger.close()
  assert.equal((await scene.untilReady('True/Serving')).status?.active?.digest, good.digest)
})
