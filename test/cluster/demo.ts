/**
 * The whole story on a real cluster: three YAML files become an adapter that serves, a second checkpoint is released, and a
 * rollback switches back under load. `--context NAME --registry HOST/PATH` tells it on a user's own cluster.
 */
import { join } from 'node:path'
import { binDir, cacheDir } from '../cache.ts'
import { compare, compareAiWritten, heldOut, rewriteAll } from './demo/answers.ts'
import { demoFile, namesOfThree } from './demo/files.ts'
import { followDataset, followRelease, followRun } from './demo/follow.ts'
import { optionsOf } from './demo/options.ts'
import { limitSeconds, planOf, trainingSeconds } from './demo/plan.ts'
import { namespace, prepareCluster } from './demo/prepare.ts'
import { elapsedSeconds, say, section } from './demo/say.ts'
import { summary } from './demo/summary.ts'
import { switchThereAndBack } from './demo/switch.ts'
import { kubectl, portForward } from './kubectl.ts'

const options = optionsOf(process.argv.slice(2))
const release = 'writer'
const answerTokens = options.short ? 8 : 160

const cluster = await prepareCluster(options)
section('2. kubectl apply: three files')
for (const name of namesOfThree)
  say((await kubectl(cluster, ['-n', namespace, 'apply', '-f', '-'], demoFile(name, options.short))).trim())

section('3. HumanizerDataset: cleaned and split')
const dataset = await followDataset(cluster, namespace, 'prose')

section('4. QLoRARun: QLoRA on the CPU')
const validation = dataset.status?.counts?.['validation'] ?? 0
const run = await followRun(cluster, namespace, 'prose', (seen) => planOf(dataset.spec.format.sample, validation, seen))
// By one clock each: the operator's times are of another machine when the cluster is.
const secondsBeforeTraining = elapsedSeconds() - trainingSeconds(run)
say(`training took ${trainingSeconds(run)} s, baseline included (at most ${limitSeconds} s on two AVX2 cores)`)
say(`and started ${secondsBeforeTraining.toFixed(0)} s after the demo did`)

section('5. AdapterRelease: the best checkpoint answers over HTTP')
const served = await followRelease(cluster, namespace, release)
const checkpoints = run.status?.checkpoints ?? []
const best = checkpoints.find((checkpoint) => checkpoint.digest === served.status?.active?.digest)
const other = checkpoints.find((checkpoint) => checkpoint.digest !== best?.digest)
if (!best || !other)
  throw new Error(`the run has ${checkpoints.length} checkpoints; the story needs a best one and another`)
const forward = await portForward(cluster, namespace, `service/${release}`, 8000)
const url = `http://127.0.0.1:${forward.port}`
const texts = await heldOut(cluster, namespace, release, dataset.status?.location ?? '', 3)
const before = await rewriteAll(url, release, texts, answerTokens)
compare(texts, before)
const copies = await compareAiWritten(url, release, answerTokens)

section('6. A second checkpoint, and back: no pod restarts, nothing is lost')
const switches = await switchThereAndBack(cluster, namespace, release, url, [best, other])
const after = await rewriteAll(url, release, texts, answerTokens)
const identical = before.every((answer, index) => answer.tuned === after[index]?.tuned)
forward.close()

section('What was seen')
console.log(summary({ dataset, run, best, copies, secondsBeforeTraining, switches, identical }))
const context = options.own ? ` --context ${options.own.context}` : ''
console.log(`
An adapter of a few steps on a 135M model is no humanizer; what was shown is the path: data → run → release → rollback.
Look around${options.own ? '' : ' (the cluster stays until `make cluster-down`)'}:
  export PATH=${binDir}:$PATH${options.own ? '' : ` KUBECONFIG=${join(cacheDir, 'run', 'demo', 'admin.conf')}`}
  kubectl${context} -n ${namespace} get hds,qlr,arl
  kubectl${context} -n ${namespace} port-forward service/${release} 8000 &
  curl -s localhost:8000/v1/rewrite -H 'content-type: application/json' -d '{"text": "the weather be nice today and I goes out"}'`)
process.exit(switches.lost.length === 0 && identical ? 0 : 1)
