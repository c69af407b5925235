/** Values that cannot work are refused before anything is installed, and the words name the value. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { render } from './helm.ts'

const refused: [string, object, RegExp][] = [
  ['an unknown key', { replicas: 2 }, /replicas/],
  ['an unknown key of the operator', { operator: { replica: 2 } }, /replica/],
  ['no replicas', { operator: { replicas: 0 } }, /operator.replicas|minimum/],
  ['half a replica', { operator: { replicas: 1.5 } }, /integer/],
  ['replicas in words', { operator: { replicas: 'two' } }, /integer/],
  ['no workers', { operator: { workers: 0 } }, /workers/],
  ['an unknown log level', { operator: { logLevel: 'verbose' } }, /logLevel/],
  ['a tag in the repository and a blank', { operator: { image: { repository: 'op tag' } } }, /repository/],
  ['an empty repository', { operator: { image: { repository: '' } } }, /repository/],
  ['a tag with a slash', { trainer: { image: { repository: 'x', tag: 'a/b' } } }, /tag/],
  ['a short digest', { trainer: { image: { repository: 'x', digest: 'sha256:abc' } } }, /digest/],
  ['a digest of another hash', { operator: { image: { repository: 'x', digest: `md5:${'a'.repeat(32)}` } } }, /digest/],
  ['an unknown pull policy', { operator: { image: { repository: 'x', pullPolicy: 'Sometimes' } } }, /pullPolicy/],
  ['an address that is none', { trainer: { hubEndpoint: 'mirror.example' } }, /hubEndpoint/],
  ['a memory that is none', { operator: { resources: { limits: { memory: 'lots' } } } }, /memory/],
  ['claims among the resources', { operator: { resources: { claims: [] } } }, /claims/],
  ['a node selector that is a number', { operator: { nodeSelector: { disk: 1 } } }, /disk/],
  ['tolerations that are no list', { operator: { tolerations: {} } }, /tolerations/],
  ['an environment variable in lower case', { operator: { extraEnv: [{ name: 'a', value: 'b' }] } }, /extraEnv/],
  ['an environment variable without a value', { operator: { extraEnv: [{ name: 'A' }] } }, /value/],
  ['a pull Secret as a word', { imagePullSecrets: ['pull'] }, /imagePullSecrets/],
  ['a pull Secret without a name', { imagePullSecrets: [{ name: '' }] }, /name/],
  ['a size of nothing', { storage: { size: '0Gi' } }, /size/],
  ['a size without a unit', { storage: { size: '50' } }, /size/],
  ['an access mode for one pod', { storage: { accessMode: 'ReadWriteOncePod' } }, /accessMode/],
  ['a StorageClass in capitals', { storage: { className: 'NFS' } }, /className/],
  ['a namespace in capitals', { watchNamespaces: ['Team'] }, /watchNamespaces/],
  ['a namespace twice', { watchNamespaces: ['a', 'a'] }, /watchNamespaces/],
  ['namespaces as a word', { watchNamespaces: 'team' }, /watchNamespaces/],
  ['a Secret name with a slash', { signingKey: { existingSecret: 'a/b' } }, /existingSecret/],
  ['keep in words', { crds: { keep: 'yes' } }, /keep/],
  ['a privileged metrics port', { metrics: { port: 80 } }, /port/],
  ['the port of the probes', { metrics: { port: 8081 } }, /port/],
  ['an interval without a unit', { metrics: { serviceMonitor: { interval: '30' } } }, /interval/],
  ['metrics readers that are no names', { networkPolicy: { metricsFrom: [{}] } }, /metricsFrom/],
]
for (const [what, values, says] of refused)
  test(`${what} is refused`, async () => {
    await assert.rejects(render(values), (error: Error) => {
      assert.match(error.message, /values don't meet the specifications of the schema/)
      assert.match(error.message, says)
      return true
    })
  })

test('a global value of a parent chart does not matter', async () => {
  assert.ok((await render({ global: { region: 'x' } })).length > 10)
})
