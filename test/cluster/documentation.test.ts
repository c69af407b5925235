/**
 * What a reader of the documents does, on a cluster that the project did not start for him: another context of a kubeconfig, images
 * by way of a registry. First the demo, then every command of README.md, of the chart's README and of what helm prints.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { dump, load } from 'js-yaml'
import { binDir } from '../cache.ts'
import { blocksOf, blocksOfNotes, inlineCommands } from './commands.ts'
import { type Cluster, getJson, helm, kubectl, startCluster, stopCluster } from './kubectl.ts'
import { type Registry, startRegistry } from './registry.ts'

const root = join(import.meta.dirname, '..', '..')
const context = 'somebody-elses'
const folder = mkdtempSync(join(tmpdir(), 'humanizer-documentation-'))
let registry: Registry
let cluster: Cluster

before(async () => {
  await stopCluster('foreign') // one that an interrupted test left
  const started = await startCluster('foreign', 16445)
  registry = await startRegistry(started.runDir!)
  kubeconfig(readFileSync(started.kubeconfig!, 'utf8'), 'current', context)
  kubeconfig(readFileSync(started.kubeconfig!, 'utf8'), 'elsewhere', 'nowhere')
  cluster = { kubeconfig: join(folder, 'current'), context, runDir: undefined }
})
after(async () => {
  await registry?.stop()
  await stopCluster('foreign')
  rmSync(folder, { recursive: true, force: true })
})

/** The cluster under names of its owner's, beside a context that leads nowhere. */
function kubeconfig(admin: string, file: string, current: string): void {
  const { clusters, users } = load(admin) as { clusters: { cluster: object }[]; users: { user: object }[] }
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { ...clusters[0], name: 'theirs' },
      { name: 'nowhere', cluster: { server: 'https://127.0.0.1:1' } },
    ],
    users: [{ ...users[0], name: 'owner' }],
    contexts: [
      { name: context, context: { cluster: 'theirs', user: 'owner' } },
      { name: 'nowhere', context: { cluster: 'nowhere', user: 'owner' } },
    ],
    'current-context': current,
  }
  writeFileSync(join(folder, file), dump(config))
}

/** Runs a block as a reader's shell would, in the root of the project. */
async function type(commands: string, config = 'current'): Promise<string> {
  const env = {
    ...process.env,
    PATH: `${binDir}:${process.env['PATH']}`,
    KUBECONFIG: join(folder, config),
    // Half a gigabyte is not packed to be unpacked a few seconds later.
    REGISTRY_FLAGS: '--tls-verify=false --disable-compression',
    // Of the make that runs the tests: with it, an inner make would print its folder among the lines to type.
    MAKELEVEL: undefined,
    MAKEFLAGS: undefined,
  }
  const options = { cwd: root, env, maxBuffer: 16 << 20, timeout: 400_000 }
  const running = promisify(execFile)('bash', ['--norc', '-euxo', 'pipefail', '-c', commands], options)
  return (
    await running.catch((error: Error & { stdout?: string; stderr?: string }) => {
      throw new Error(`${commands}\n${error.stdout}\n${error.stderr}`)
    })
  ).stdout
}

const objects = async <T>(...args: string[]): Promise<readonly T[]> =>
  (await getJson<{ items: T[] }>(cluster, args))?.items ?? []
interface Pod {
  readonly spec: { readonly containers: readonly { readonly image: string }[] }
}

test('the demo’s dataset names the sum of its corpus', () => {
  const sum = createHash('sha256')
    .update(readFileSync(join(root, 'test', 'fixtures', 'prose.jsonl')))
    .digest('hex')
  const { spec } = load(readFileSync(join(root, 'docs', 'demo', '1-dataset.yaml'), 'utf8')) as {
    spec: { sources: { http: { sha256: string } }[] }
  }
  assert.equal(spec.sources[0]?.http.sha256, sum)
})

test('make demo tells its story, cut short, on the cluster of another context', async () => {
  const output = await type(
    `make demo CONTEXT=${context} REGISTRY=${registry.host}/team STORAGE_CLASS=local ACCESS_MODE=ReadWriteOnce SHORT=1`,
    'elsewhere',
  )
  assert.match(output, /requests during both +\d+ answered, 0 lost/)
  assert.match(output, /answers after the rollback +identical/)
  assert.doesNotMatch(output, /undefined/)
  const pods = [
    ...(await objects<Pod>('pods', '-n', 'humanizer-system')),
    ...(await objects<Pod>('pods', '-n', 'humanizer-demo')),
  ]
  for (const { spec } of pods) assert.match(spec.containers[0]!.image, new RegExp(`^${registry.host}/team/`))
  const claim = await getJson<{ spec: object }>(cluster, ['-n', 'humanizer-demo', 'pvc', 'humanizer'])
  assert.partialDeepStrictEqual(claim?.spec, { storageClassName: 'local', accessModes: ['ReadWriteOnce'] })

  const closing = output.slice(output.indexOf('Look around')).split('\n').slice(1).join('\n')
  const typed = `${closing.replace('8000 &\n', '8000 >&2 & trap "kill $!" EXIT; sleep 3\n')}`
  assert.match(await type(typed, 'elsewhere'), /prose.*"text"/s)
})

test('the demo deletes no namespace that an earlier demo did not make', async () => {
  await kubectl(cluster, ['label', 'namespace', 'humanizer-demo', 'humanizer.dev/demo-'])
  await assert.rejects(
    type(`make demo CONTEXT=${context} REGISTRY=${registry.host}/team`, 'elsewhere'),
    /namespace humanizer-demo exists and is not an earlier demo's/,
  )
})

async function uninstall(release: string, namespace: string): Promise<void> {
  await helm(cluster, ['uninstall', release, '--namespace', namespace, '--wait'])
}
async function deleteCrds(): Promise<void> {
  const names = (await kubectl(cluster, ['get', 'crd', '-o', 'name']))
    .split('\n')
    .filter((name) => name.includes('humanizer.dev'))
  await kubectl(cluster, ['delete', ...names])
}
const deleteThree = (): Promise<string> =>
  kubectl(cluster, [
    'delete',
    '-f',
    join(root, 'docs', 'demo', '1-dataset.yaml'),
    '-f',
    join(root, 'docs', 'demo', '2-run.yaml'),
    '-f',
    join(root, 'docs', 'demo', '3-release.yaml'),
  ])
const owner = async (): Promise<string | undefined> => {
  const crd = await getJson<{ metadata: { annotations?: Record<string, string> } }>(cluster, [
    'crd',
    'qloraruns.humanizer.dev',
  ])
  return crd?.metadata.annotations?.['meta.helm.sh/release-name']
}

/** Makes the kinds of the Prometheus operator known. */
const monitoringKinds = `
  crds=$(cd test/cluster/prometheus && go mod download -json github.com/prometheus-operator/prometheus-operator |
    sed -n 's/.*"Dir": "\\(.*\\)".*/\\1/p')/example/prometheus-operator-crd
  kubectl apply --server-side -f "$crds/monitoring.coreos.com_prometheusrules.yaml" -f "$crds/monitoring.coreos.com_podmonitors.yaml"
  kubectl wait --for=condition=Established crd/prometheusrules.monitoring.coreos.com crd/podmonitors.monitoring.coreos.com`

interface Step {
  /** Begins the block. */
  readonly begins: string
  readonly before?: () => Promise<unknown>
  readonly after?: (output: string) => Promise<unknown>
}
/** Not typed here: the demo, which is told above, the tests themselves, and what measures. */
const excepted = [/^make demo\b/, /^make test\b/, /^make bench\b/]
const steps: Readonly<Record<string, readonly Step[]>> = {
  'README.md': [
    {
      begins: 'make images',
      before: async () => {
        await kubectl(cluster, ['delete', 'namespace', 'humanizer-demo', '--wait=false'])
        await uninstall('humanizer', 'humanizer-system')
        await deleteCrds()
      },
      after: async (output) => {
        assert.match(output, /FIELDS?:[\s\S]*baseModel/)
        await kubectl(cluster, ['wait', '--for=condition=Ready', 'hds/prose', '--timeout=300s'])
        await deleteThree()
      },
    },
  ],
  'docs/datasets.md': [
    {
      begins: 'kubectl apply',
      after: async (output) => assert.match(output, /Prepared[\s\S]*report: datasets\/[0-9a-f]{64}\/report\.html/),
    },
    {
      begins: 'folder=',
      after: async () => {
        const page = join(root, 'report.html')
        assert.match(readFileSync(page, 'utf8'), /^<!doctype html>[\s\S]*approvedDigest[\s\S]*<\/html>/)
        rmSync(page)
        await kubectl(cluster, ['delete', '-f', join(root, 'docs', 'demo', '1-dataset.yaml')])
      },
    },
  ],
  'docs/metrics.md': [
    {
      begins: 'helm upgrade',
      before: () => type(monitoringKinds),
      after: async () => assert.equal((await objects('prometheusrules', '-n', 'humanizer-system')).length, 1),
    },
    { begins: 'kubectl apply', after: async (output) => assert.match(output, /humanizer-serving created/) },
  ],
  'charts/humanizer/README.md': [
    { begins: 'make images', after: async (output) => assert.match(output, /Phase: +Succeeded/) },
    {
      begins: 'openssl',
      after: async () => {
        const operator = await kubectl(cluster, [
          '-n',
          'humanizer-system',
          'get',
          'deployment',
          'humanizer',
          '-o',
          'yaml',
        ])
        assert.match(operator, /secretName: signing-key/)
      },
    },
    {
      begins: 'helm install other charts/humanizer',
      before: async () => {
        await uninstall('humanizer', 'humanizer-system')
        await assert.rejects(
          helm(cluster, [
            'install',
            'other',
            join(root, 'charts', 'humanizer'),
            '-n',
            'elsewhere',
            '--create-namespace',
          ]),
          /invalid ownership metadata/,
        )
      },
      after: async () => {
        assert.equal(await owner(), 'other')
        await uninstall('other', 'elsewhere')
      },
    },
    {
      begins: 'for kind in',
      before: () =>
        kubectl(cluster, ['annotate', '--overwrite', 'crd', '--all', 'meta.helm.sh/release-name=humanizer']),
      after: async () => {
        assert.equal(await owner(), 'other')
        await uninstall('other', 'elsewhere')
      },
    },
    {
      begins: 'kubectl apply --server-side',
      before: deleteCrds,
      after: async () => {
        assert.equal(await owner(), undefined)
        await uninstall('other', 'elsewhere')
      },
    },
    {
      begins: 'kubectl -n argocd patch',
      before: async () => {
        await kubectl(cluster, ['create', 'namespace', 'argocd'])
        await kubectl(cluster, ['-n', 'argocd', 'create', 'configmap', 'argocd-cm', '--from-literal=theirs=kept'])
      },
      after: async () => {
        const map = await getJson<{ data: object }>(cluster, ['-n', 'argocd', 'configmap', 'argocd-cm'])
        assert.equal(Object.keys(map?.data ?? {}).length, 4)
      },
    },
  ],
}

for (const [document, expected] of Object.entries(steps)) {
  const text = readFileSync(join(root, document), 'utf8')
  const blocks = blocksOf(text)
    .map((block) =>
      block
        .split('\n')
        .filter((line) => !excepted.some((pattern) => pattern.test(line)))
        .join('\n'),
    )
    .filter((block) => block !== '' && !/^(HumanizerDataset {2}─|\w+:)/.test(block)) // the picture of the flow, and fields
  test(`every command of ${document} stands in a block that is typed here`, () => {
    assert.deepEqual(
      blocks.map((block) => expected.find(({ begins }) => block.startsWith(begins))),
      [...expected],
    )
    assert.deepEqual(inlineCommands(text), [])
  })
  for (const block of blocks)
    test(`${document}: ${block.split('\n')[0]}`, async () => {
      const step = expected.find(({ begins }) => block.startsWith(begins))
      await step?.before?.()
      const output = await type(block.replaceAll('host/path', `${registry.host}/team`))
      await step?.after?.(output)
    })
}

test('what helm prints after an installation can be typed', async () => {
  await deleteCrds()
  await type('helm install humanizer charts/humanizer --namespace humanizer-system --values build/images.yaml --wait')
  const blocks = blocksOfNotes(await helm(cluster, ['get', 'notes', 'humanizer', '--namespace', 'humanizer-system']))
  assert.equal(blocks.length, 2)
  for (const block of blocks) await type(block)
  await deleteThree()
})
