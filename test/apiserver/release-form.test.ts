/** spec.form on a real API server: real Jobs and Deployments, their pods played. */
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { type ApiServer, until } from './api-server.ts'
import { digestOf, ReleaseScene } from './release-scene.ts'
import { completes, fails, Kubelet, type PodScript } from './run-kubelet.ts'
import { sharedApiServer } from './shared-api-server.ts'

const b = digestOf('b')
const source = { run: { name: 'prose', checkpoint: 'Best' } }

let server: ApiServer
let scene: ReleaseScene
let kubelet: Kubelet | undefined
let ends: () => PodScript | undefined

before(async () => {
  server = await sharedApiServer()
})
after(() => server.stop())
beforeEach(async () => {
  scene = await ReleaseScene.begin(server)
  ends = () => undefined
  kubelet = new Kubelet(scene.client, scene.namespace, (pod) => ends() ?? completes(pod))
  await scene.finishedRun()
})
afterEach(async () => {
  await kubelet?.[Symbol.asyncDispose]()
  await scene.end()
})

const jobs = async (): Promise<string[]> =>
  (await scene.list('/apis/batch/v1', 'jobs')).map(({ metadata }) => metadata.name)

test('an adapter becomes its merged form beside itself, and goes back without a Job', async () => {
  await scene.apply({ source })
  await scene.untilReady('True/Serving')
  const [old] = await scene.deployments()
  await scene.apply({ source, form: 'Merged' })
  const { status } = await scene.untilReady('True/Serving', { limitSeconds: 40 })
  assert.equal(status?.active?.form, 'Merged')
  assert.equal(status?.active?.merged?.path, `merged/${'9'.repeat(64)}`)
  assert.equal(status?.merge?.number, 1)
  assert.deepEqual(await jobs(), ['writer-merge-bbbbbbbb-1'])
  assert.deepEqual(scene.pods.digests.at(-1), b)
  await until('the old Deployment is gone', async () => {
    const now = await scene.deployments()
    return now.length === 1 && now[0]?.metadata.uid !== old?.metadata.uid
  })
  await scene.apply({ source, form: 'Adapter' })
  const back = await scene.untilReady('True/Serving', { limitSeconds: 40 })
  assert.equal(back.status?.active?.form, undefined)
  assert.deepEqual(await jobs(), ['writer-merge-bbbbbbbb-1'])
})

test('without room for the merged model the adapter serves on', async () => {
  await scene.apply({ source })
  await scene.untilReady('True/Serving')
  scene.pods.schedulerSays = '0/1 nodes have 16 GiB'
  await scene.apply({ source, form: 'Merged' })
  const { status } = await scene.untilReady('False/NoCapacity', { limitSeconds: 40 })
  assert.equal(status?.active?.form, undefined)
  assert.equal(status?.conditions?.find(({ type }) => type === 'Serving')?.status, 'True')
})

test('a merge that fails once is made again, one that cannot be made refuses the candidate', async () => {
  ends = () => (kubelet?.seen.length === 1 ? { kind: 'evict' } : undefined)
  await scene.apply({ source, form: 'Merged' })
  await scene.untilReady('True/Serving', { limitSeconds: 60 })
  ends = () => fails(kubelet!.seen.at(-1)!, 65, 'SourceInvalid', 'models/m is a GGUF file')
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } }, form: 'Merged' })
  const { status } = await scene.untilReady('False/MergeFailed', { limitSeconds: 40 })
  assert.match(status?.verdict?.message ?? '', /SourceInvalid: models\/m is a GGUF file/)
  assert.equal(status?.active?.digest, b)
})

test('a release moves to vLLM beside the pods that compute themselves', async () => {
  await scene.apply({ source })
  await scene.untilReady('True/Serving')
  const vllm = { image: 'vllm/vllm-openai:v0.11.0', args: ['--quantization=bitsandbytes'] }
  await scene.apply({ source, serving: { port: 8000, engine: 'VLLM', vllm: vllm as never } })
  await scene.untilReady('True/Serving', { limitSeconds: 40 })
  await until('the old Deployment is gone', async () => (await scene.deployments()).length === 1)
  const [deployment] = await scene.deployments()
  const { template } = deployment!['spec'] as {
    template: { spec: { containers: { name: string; args: string[] }[] } }
  }
  const [own, beside] = template.spec.containers
  assert.deepEqual([own?.name, beside?.name], ['humanizer', 'vllm'])
  assert.match(beside?.args.join(' ') ?? '', /--max-lora-rank 64 .*--quantization=bitsandbytes$/)
})

test('deleting a release in the middle of a merge leaves no Job and no pod', async () => {
  ends = () => ({ kind: 'run' })
  await scene.apply({ source, form: 'Merged' })
  await scene.untilReady('False/Merging')
  await until('the pod to run', async () => kubelet!.seen.length === 1)
  await scene.client.request('DELETE', scene.path('adapterreleases', 'writer'))
  await until(
    'all children are gone',
    async () => {
      const configs = (await scene.list('/api/v1', 'configmaps')).filter(
        ({ metadata }) => metadata.labels?.['humanizer.dev/release'],
      )
      return (await jobs()).length === 0 && configs.length === 0
    },
    90,
  )
})
