/** Brings a cluster to where the three files can be applied: images, chart, an empty namespace, the file server. */
import {
  buildImages,
  type Cluster,
  getJson,
  installChart,
  kubectl,
  loadImages,
  script,
  startCluster,
} from '../kubectl.ts'
import { fileServer } from './files.ts'
import type { Options } from './options.ts'
import { say, section } from './say.ts'

export const namespace = 'humanizer-demo'
const mark = 'humanizer.dev/demo'

export async function prepareCluster({ own, values }: Options): Promise<Cluster> {
  section('1. A cluster with the operator')
  await script('packages.sh', { show: say })
  await script('build.sh', { show: say })
  const cluster = own ? await reach(own.context) : await startCluster('demo', 16443, say)
  await emptyNamespace(cluster)
  say('building images (unchanged ones are kept)')
  const images = await buildImages({ DEMO_FILES: '1', ...(own ? { REGISTRY: own.registry } : {}) })
  const image = (name: string): string => {
    const value = images[name]
    if (value === undefined) throw new Error(`images.sh printed no ${name}`)
    return value
  }
  if (own) say(`images are in ${own.registry}`)
  else {
    await loadImages('demo', [image('OPERATOR_ARCHIVE'), image('TRAINER_ARCHIVE'), image('FILES_ARCHIVE')])
    say('images are on the node')
  }
  await installChart(cluster, image('OPERATOR_IMAGE'), image('TRAINER_IMAGE'), values)
  say('helm upgrade --install humanizer: the operator is ready')
  await kubectl(cluster, ['-n', namespace, 'apply', '-f', '-'], fileServer(image('FILES_IMAGE')))
  await kubectl(cluster, ['-n', namespace, 'rollout', 'status', 'deployment/demo-files', '--timeout=120s'])
  return cluster
}

async function reach(context: string): Promise<Cluster> {
  const cluster = { kubeconfig: process.env['KUBECONFIG'], context, runDir: undefined }
  await kubectl(cluster, ['get', '--raw', '/readyz', '--request-timeout=20s'])
  return cluster
}

/** An earlier demo's objects are finished: they would be shown instead of a new run. Nobody else's namespace is touched. */
async function emptyNamespace(cluster: Cluster): Promise<void> {
  const old = await getJson<{ metadata: { labels?: Record<string, string> } }>(cluster, ['namespace', namespace])
  if (old && old.metadata.labels?.[mark] !== 'true')
    throw new Error(`namespace ${namespace} exists and is not an earlier demo's (no label ${mark}=true)`)
  if (old) {
    say('deleting the namespace of the demo before')
    await kubectl(cluster, ['delete', 'namespace', namespace, '--wait', '--timeout=180s'])
  }
  await kubectl(
    cluster,
    ['apply', '-f', '-'],
    `apiVersion: v1
kind: Namespace
metadata: {name: ${namespace}, labels: {${mark}: "true", pod-security.kubernetes.io/enforce: restricted}}
`,
  )
}
