import type { Vllm } from '#proto/humanizer/trainer/v1/serving.ts'
import type { AdapterReleaseSpec } from '../api/generated/adapterrelease.ts'
import type { PodTemplate } from '../workload/pod.ts'
import { modelNameOf, type Release } from './adapter.ts'

/** What spec.serving says of a vLLM that computes; undefined when the pods compute themselves. docs/adr/0014. */
export type VllmSpec = NonNullable<AdapterReleaseSpec['serving']['vllm']>

/** vLLM listens here for the other container of its pod alone. */
export const vllmPort = 9444
/** Name of its container. */
export const vllmContainerName = 'vllm'

export const vllmOf = ({ spec }: Release): VllmSpec | undefined =>
  spec.serving.engine === 'VLLM' ? spec.serving.vllm : undefined

/** What the pod's own container is told of the vLLM beside it. */
export function vllmConfig(release: Release): Vllm | undefined {
  const vllm = vllmOf(release)
  if (!vllm) return undefined
  const { maxLoraRank, args = [] } = vllm
  const url = `http://127.0.0.1:${vllmPort}`
  return { url, maxLoraRank, baseName: vllmBaseName(release), quantization: quantizationOf(args) }
}

/** What the arguments say to `vllm serve` of --quantization, -q for short; the last one counts. */
function quantizationOf(args: readonly string[]): string {
  const said = args.flatMap((arg, index) => {
    const [name, value = args[index + 1]] = arg.split(/=(.*)/s)
    return (name === '--quantization' || name === '-q') && value ? [value] : []
  })
  return said.at(-1) ?? ''
}

/** The name under which clients ask for the base, so that nothing has to be renamed for it. */
const vllmBaseName = (release: Release): string => `${modelNameOf(release)}@base`

/** Two answer while a switch is under way; what served before stays warm. */
const maxLoras = 2
const maxCpuLoras = 4

interface Container {
  readonly image: string
  readonly resources: unknown
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[]
  readonly securityContext: object
}

/** The container that follows the release needs little. */
const followerResources = { requests: { cpu: '100m', memory: '256Mi' } }

/** The pod with vLLM beside its own container; spec.pod.resources are vLLM's. `modelPath`: the base, as the container sees it. */
export function withVllm(release: Release, template: PodTemplate, modelPath: string): PodTemplate {
  const vllm = vllmOf(release)
  if (!vllm) return template
  const [own] = template.spec['containers'] as [Container]
  const volumes = template.spec['volumes'] as object[]
  const { maxContextTokens } = release.spec.serving
  const readable = own.volumeMounts.filter(({ name }) => name === 'data' || name === 'model-source')
  const container = {
    name: vllmContainerName,
    image: vllm.image,
    command: ['vllm', 'serve', modelPath],
    args: [
      ...['--served-model-name', vllmBaseName(release), '--host', '127.0.0.1', '--port', String(vllmPort)],
      ...['--enable-lora', '--max-lora-rank', String(vllm.maxLoraRank)],
      ...['--max-loras', String(maxLoras), '--max-cpu-loras', String(maxCpuLoras)],
      // Adapters bring the template that they were trained with; clients' own are refused before vLLM.
      '--trust-request-chat-template',
      ...(maxContextTokens === undefined ? [] : ['--max-model-len', String(maxContextTokens)]),
      ...(vllm.args ?? []),
    ],
    env: [
      { name: 'VLLM_ALLOW_RUNTIME_LORA_UPDATING', value: 'True' },
      { name: 'VLLM_NO_USAGE_STATS', value: '1' },
      { name: 'VLLM_CACHE_ROOT', value: '/tmp/vllm' },
      { name: 'HF_HUB_OFFLINE', value: '1' },
      { name: 'HOME', value: '/tmp' },
    ],
    resources: own.resources,
    volumeMounts: [
      ...readable.map((mount) => ({ ...mount, readOnly: true })),
      { name: 'vllm-tmp', mountPath: '/tmp' },
      { name: 'shm', mountPath: '/dev/shm' },
    ],
    securityContext: own.securityContext,
  }
  return {
    ...template,
    spec: {
      ...template.spec,
      // The kubelet lists containers by name: the operator reads of the first, which is the one that it speaks to.
      containers: [{ ...own, resources: followerResources }, container],
      volumes: [...volumes, { name: 'vllm-tmp', emptyDir: {} }, { name: 'shm', emptyDir: { medium: 'Memory' } }],
    },
  }
}
