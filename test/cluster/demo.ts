/**
 * The whole story on a real cluster: three YAML files become an adapter that serves, a second checkpoint is released, and a
 * rollback switches back under load. `--context NAME --registry HOST/PATH` tells it on a user's own cluster.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { binDir, cacheDir } from '../cache.ts'
import { compare, compareAiWritten, heldOut, rewriteAll } from './demo/answers.ts'
import { followDataset, followRelease, followRun, type Release, type Run } from './demo/follow.ts'
import { say, section } from './demo/say.ts'
import { table } from './demo/table.ts'
import {
  buildImages,
  type Cluster,
  getJson,
  installChart,
  kubectl,
  loadImages,
  portForward,
  startCluster,
  waitFor,
} from './kubectl.ts'
import { lastOtherAnswer, startLoad } from './load.ts'

const { values: options } = parseArgs({ options: { context: { type: 'string' }, registry: { type: 'string' } } })
if ((options.context === undefined) !== (options.registry === undefined)) {
  console.error(
    'CONTEXT and REGISTRY go together: the cluster of CONTEXT pulls the images that are pushed to REGISTRY.',
  )
  process.exit(64)
}
const root = join(import.meta.dirname, '..', '..')
const namespace = 'humanizer-demo'
const release = 'writer'
const corpus = join(root, 'test', 'fixtures', 'prose.jsonl')
const began = Date.now()

async function prepareCluster(): Promise<Cluster> {
  section('1. A cluster with the operator')
  const cluster: Cluster =
    options.context === undefined
      ? await startCluster('demo', 16443, say)
      : { kubeconfig: process.env['KUBECONFIG'], context: options.context, runDir: undefined }
  say('building images (unchanged ones are kept)')
  const images = await buildImages({ DEMO_FILES: '1', ...(options.registry ? { REGISTRY: options.registry } : {}) })
  const image = (name: string): string => {
    const value = images[name]
    if (value === undefined) throw new Error(`images.sh printed no ${name}`)
    return value
  }
  if (options.context === undefined) {
    await loadImages('demo', [image('OPERATOR_ARCHIVE'), image('TRAINER_ARCHIVE'), image('FILES_ARCHIVE')])
    say('images are on the node')
  }
  await installChart(cluster, image('OPERATOR_IMAGE'), image('TRAINER_IMAGE'))
  say('helm upgrade --install humanizer: the operator is ready')
  const files = readFileSync(join(root, 'docs', 'demo', 'files.yaml'), 'utf8').replace(
    'FILES_IMAGE',
    image('FILES_IMAGE'),
  )
  await kubectl(cluster, ['apply', '-f', '-'], `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${namespace}}\n`)
  await kubectl(cluster, ['-n', namespace, 'apply', '-f', '-'], files)
  await kubectl(cluster, ['-n', namespace, 'rollout', 'status', 'deployment/demo-files', '--timeout=120s'])
  return cluster
}

async function applyThree(cluster: Cluster): Promise<void> {
  section('2. kubectl apply: three files')
  const sum = createHash('sha256').update(readFileSync(corpus)).digest('hex')
  for (const name of ['1-dataset.yaml', '2-run.yaml', '3-release.yaml']) {
    const text = readFileSync(join(root, 'docs', 'demo', name), 'utf8').replace('CORPUS_SHA256', sum)
    say((await kubectl(cluster, ['-n', namespace, 'apply', '-f', '-'], text)).trim())
  }
}

/** Changes which checkpoint serves and waits until the API says so; resolves when kubectl returned, in ms since the epoch. */
async function switchTo(cluster: Cluster, source: object, digest: string): Promise<number> {
  const patch = JSON.stringify([{ op: 'replace', path: '/spec/source', value: source }])
  await kubectl(cluster, ['-n', namespace, 'patch', 'arl', release, '--type=json', '-p', patch])
  const acknowledged = Date.now()
  await waitFor(`release ${release} to serve ${digest}`, 120, async () => {
    const object = await getJson<Release>(cluster, ['-n', namespace, 'arl', release])
    return object?.status?.active?.digest === digest ? object : undefined
  })
  return acknowledged
}

const cluster = await prepareCluster()
await applyThree(cluster)
const beforeTraining = Date.now()

section('3. HumanizerDataset: cleaned and split')
const dataset = await followDataset(cluster, namespace, 'prose')

section('4. QLoRARun: 24 steps of QLoRA on this machine’s CPU')
const run: Run = await followRun(cluster, namespace, 'prose')
const trainingSeconds = (Date.now() - beforeTraining) / 1000

section('5. AdapterRelease: the best checkpoint answers over HTTP')
const first = await followRelease(cluster, namespace, release)
const checkpoints = run.status?.checkpoints ?? []
const best = checkpoints.find((checkpoint) => checkpoint.digest === first.status?.active?.digest)
const other = checkpoints.find((checkpoint) => checkpoint.digest !== best?.digest)
if (!best || !other)
  throw new Error(`the run has ${checkpoints.length} checkpoints; the story needs a best one and another`)
const forward = await portForward(cluster, namespace, `service/${release}`, 8000)
const url = `http://127.0.0.1:${forward.port}`
const texts = await heldOut(cluster, namespace, release, dataset.status?.location ?? '', 3)
const before = await rewriteAll(url, release, texts)
compare(texts, before)
const ai = await compareAiWritten(url, release)

section('6. A second checkpoint, and back: no pod restarts, nothing is lost')
const load = startLoad(url, 2, { model: release, maxTokens: 8 })
await waitFor('the load to be answered', 60, async () => (load.answers.length >= 4 ? true : undefined))
const forwardAt = await switchTo(cluster, { run: { name: 'prose', checkpoint: other.name } }, other.digest)
say(`${other.name} serves`)
await waitFor('answers of it', 60, async () => (load.answers.at(-1)?.digest === other.digest ? true : undefined))
const forwardSeconds = lastOtherAnswer(load.answers, forwardAt, other.digest) / 1000
const backAt = await switchTo(cluster, { run: { name: 'prose', checkpoint: best.name } }, best.digest)
say(`${best.name} serves again`)
await waitFor('answers of it', 60, async () => (load.answers.at(-1)?.digest === best.digest ? true : undefined))
await load.stop()
const backSeconds = lastOtherAnswer(load.answers, backAt, best.digest) / 1000
const after = await rewriteAll(url, release, texts)
const identical = before.every((answer, index) => answer.tuned === after[index]?.tuned)
forward.close()

section('What was seen')
const counts = dataset.status?.counts
const baseline = run.status?.baseline
console.log(
  table(
    ['what', 'figure'],
    [
      ['paragraphs read', `${counts?.read}`],
      ['kept: train + validation', `${counts?.train} + ${counts?.validation}`],
      ['exact and near duplicates', `${counts?.exactDuplicates} and ${counts?.nearDuplicates}`],
      ['held-out loss, unquantised base', `${baseline?.unquantizedLoss} nats per token`],
      ['held-out loss, NF4 base (baseline)', `${baseline?.loss} ± ${baseline?.lossInterval}`],
      ...checkpoints.map((checkpoint) => [
        `held-out loss, ${checkpoint.name}${checkpoint.best ? ' (best)' : ''}`,
        `${checkpoint.evalLoss} ± ${checkpoint.evalLossInterval} (95 % by bootstrap over ${baseline ? 'the same 16' : ''} texts)`,
      ]),
      ['copy rate, AI-written paragraph', ai],
      ['speed of training', `${run.status?.progress?.tokensPerSecond} tokens/s`],
      ['apply to trained', `${trainingSeconds.toFixed(0)} s`],
      [
        'switch forward, back',
        `${forwardSeconds.toFixed(2)} s, ${backSeconds.toFixed(2)} s (API server's answer to the last answer begun on the earlier adapter)`,
      ],
      [
        'requests during both',
        `${load.answers.length} answered, ${load.lost.length} lost${load.lost.length ? ` (${load.lost[0]})` : ''}`,
      ],
      ['answers after the rollback', identical ? 'identical to those before' : 'DIFFERENT from those before'],
      ['everything', `${((Date.now() - began) / 1000).toFixed(0)} s`],
    ],
  ),
)
console.log(`
A thirty-step adapter of a 135M model is no humanizer; what was shown is the path: data → run → release → rollback.
Look around${options.context ? '' : ' (the cluster stays until `make cluster-down`)'}:
${options.context ? '' : `  export KUBECONFIG=${join(cacheDir, 'run', 'demo', 'admin.conf')} PATH=${binDir}:$PATH\n`}  kubectl -n ${namespace} get hds,qlr,arl
  kubectl -n ${namespace} port-forward service/${release} 8000 &
  curl -s localhost:8000/v1/rewrite -H 'content-type: application/json' -d '{"text": "the weather be nice today and I goes out"}'`)
process.exit(load.lost.length === 0 && identical ? 0 : 1)
