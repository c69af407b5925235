import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import type { Adapter, Release } from './adapter.ts'
import { release, run } from './objects.ts'
import { deploymentName, servingObjects } from './serving.ts'
import { resolveSource } from './source.ts'
import { World } from './world.ts'

// biome-ignore lint/suspicious/noExplicitAny: a manifest is read here as a reader of YAML would
type Manifest = any

const { settings } = new World()
const serving = { engine: 'VLLM', port: 8000, vllm: { image: 'vllm/vllm-openai:v0.11.0', maxLoraRank: 32 } } as const
const resources = { limits: { 'nvidia.com/gpu': 1 } }

function made(object: Release, claimName?: string) {
  const runs = [run(claimName ? { modelClaim: claimName } : {})]
  const { adapter } = resolveSource(object, { runs, releases: [] }) as { adapter: Adapter }
  const deployment = deploymentName(object, adapter, settings.trainerImage)
  const claim = { name: 'humanizer', singleNode: false }
  const all: Manifest[] = servingObjects(object, { deployment, adapter, serviceTo: deployment, claim, settings })
  const config = all.find(({ data }) => data?.['config.json'])
  return {
    deployment,
    template: all.find(({ kind }) => kind === 'Deployment').spec.template,
    config: ServeConfig.fromJSON(JSON.parse(config.data['config.json'])),
  }
}

test('vLLM stands beside the container that follows the release, with the GPU, and takes adapters from it alone', () => {
  const { template, config } = made(release({ serving, pod: { resources } }))
  const [own, vllm] = template.spec.containers
  assert.deepEqual([own.name, vllm.name, vllm.image], ['humanizer', 'vllm', 'vllm/vllm-openai:v0.11.0'])
  assert.deepEqual(vllm.resources, resources)
  assert.equal(own.resources.limits, undefined)
  assert.deepEqual(vllm.command, ['vllm', 'serve', '/data/models/m'])
  const args = vllm.args.join(' ')
  assert.match(
    args,
    /^--served-model-name writer@base --host 127\.0\.0\.1 --port 9444 --enable-lora --max-lora-rank 32 /,
  )
  assert.ok(
    vllm.env.some(({ name, value }: Manifest) => name === 'VLLM_ALLOW_RUNTIME_LORA_UPDATING' && value === 'True'),
  )
  assert.deepEqual(config.vllm, {
    url: 'http://127.0.0.1:9444',
    maxLoraRank: 32,
    baseName: 'writer@base',
    quantization: '',
  })
  assert.equal(own.readinessProbe.httpGet.path, '/readyz')
})

test('vLLM writes to nothing but folders that end with the pod, as restricted as the other', () => {
  const { template } = made(release({ serving }), 'bases')
  const [own, vllm] = template.spec.containers
  assert.deepEqual(vllm.securityContext, own.securityContext)
  const mounts = vllm.volumeMounts.map(({ name, mountPath, readOnly }: Manifest) => [name, mountPath, readOnly])
  assert.deepEqual(mounts, [
    ['data', '/data', true],
    ['model-source', '/models-source', true],
    ['vllm-tmp', '/tmp', undefined],
    ['shm', '/dev/shm', undefined],
  ])
  const names = template.spec.volumes.map(({ name }: Manifest) => name)
  for (const [name] of mounts) assert.ok(names.includes(name), String(name))
})

test('what the user adds comes last, and the context is the release’s', () => {
  const vllm = { ...serving.vllm, args: ['--quantization=bitsandbytes'] }
  const { template } = made(release({ serving: { ...serving, vllm, maxContextTokens: 2048 } }))
  const { args } = template.spec.containers[1]
  assert.deepEqual(args.slice(-3), ['--max-model-len', '2048', '--quantization=bitsandbytes'])
})

for (const [said, quantization] of [
  [['--quantization=bitsandbytes'], 'bitsandbytes'],
  [['--quantization', 'fp8', '-q', 'bitsandbytes'], 'bitsandbytes'],
  [['--quantization=bitsandbytes', '--quantization', 'awq'], 'awq'],
  [['--enforce-eager', '--quantization'], ''],
] as const)
  test(`the pod is told of its vLLM's --quantization: ${said.join(' ')}`, () => {
    const { config } = made(release({ serving: { ...serving, vllm: { ...serving.vllm, args: [...said] } } }))
    assert.equal(config.vllm?.quantization, quantization)
  })

test('another engine, or another vLLM, is another Deployment', () => {
  const names = [
    release(),
    release({ serving }),
    release({ serving: { ...serving, vllm: { ...serving.vllm, maxLoraRank: 64 } } }),
  ].map((each) => made(each).deployment)
  assert.equal(new Set(names).size, 3)
})
