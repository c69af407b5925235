/**
 * Rollbacks under load: the tiny model on two real serving processes, the real operator on a real API server, 20 requests a second.
 * Each rollback goes to a digest that was promoted before. Its time is from the API server's answer to the write to the end of the last
 * response that the earlier adapter gave. Most are warm, to what served just before; the cold ones go round three adapters, to the one that
 * pods have closed and read from the claim again. Then one rollback drill. Fails beyond 2 s, cold beyond 15 s, and when a request fails or
 * is answered by two adapters.
 */
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { startApiServer, until } from '../apiserver/api-server.ts'
import { ReleaseScene } from '../apiserver/release-scene.ts'
import { Claim } from '../wire/serving-pod.ts'
import { ServingProcesses } from './serving-processes.ts'

const rollbacks = 50
/** A multiple of three. */
const coldRollbacks = 9
const perSecond = 20
const slowestSeconds = 2
const coldSeconds = 15
const port = 8000
const prompts = ['The old house', 'She said that', 'In the morning', 'A letter came']

interface Answer {
  readonly prompt: string
  readonly ok: boolean
  readonly digest: string
  readonly text: string
  /** On performance.now's clock. */
  readonly ended: number
}

async function ask(url: string, prompt: string): Promise<Answer> {
  const body = { model: 'writer', prompt, max_tokens: 8, temperature: 0 }
  try {
    const answer = await fetch(`${url}/v1/completions`, { method: 'POST', body: JSON.stringify(body) })
    const { choices } = (await answer.json()) as { choices?: { text: string }[] }
    const digest = answer.headers.get('x-humanizer-adapter-digest') ?? ''
    return { prompt, ok: answer.ok, digest, text: choices?.[0]?.text ?? '', ended: performance.now() }
  } catch {
    return { prompt, ok: false, digest: '', text: '', ended: performance.now() }
  }
}

const server = await startApiServer({ controllerManager: true })
const scene = await ReleaseScene.begin(server)
await scene.pods.stop() // real ones take their place
const claim = await Claim.create()
const processes = new ServingProcesses(scene.client, scene.namespace, claim.root, claim.dataDir, port)

/** A run that left these three checkpoints. */
async function finishedRun(): Promise<string[]> {
  const all = [await claim.checkpoint('one', 1), await claim.checkpoint('two', 2), await claim.checkpoint('three', 3)]
  await scene.endedRun('prose', {
    model: { path: 'models/tiny-llama', digest: claim.base.digest, name: 'tiny-llama' },
    checkpoints: all.map((each, index) => ({ name: `checkpoint-${index + 1}`, step: index + 1, ...each })),
  })
  return all.map(({ digest }) => digest)
}

const serve = (digest: string) => scene.apply({ source: { digest }, serving: { replicas: 2, port } })

/** What a release says of the drill that an annotation asks for. */
async function rollbackDrill() {
  await scene.client.request('PATCH', scene.path('adapterreleases', 'writer'), {
    contentType: 'application/merge-patch+json',
    body: { metadata: { annotations: { 'humanizer.dev/drillRequestedAt': 'now' } } },
  })
  let release = await scene.get()
  await until('the drill to end', async () => {
    release = await scene.get()
    return /Passed|Failed|Refused/.test(release.status?.drill?.state ?? '')
  })
  const drill = release.status!.drill!
  if (drill.state !== 'Passed') throw new Error(`the drill ended in ${drill.state}: ${drill.message}`)
  return drill
}

async function measure() {
  const digests = await finishedRun()
  const expected = new Map<string, string>()
  for (const digest of digests) {
    await serve(digest)
    await scene.untilReady('True/Serving', { limitSeconds: 120 })
    for (const prompt of prompts) expected.set(`${digest} ${prompt}`, (await ask(processes.urls[0]!, prompt)).text)
  }

  const answers: Answer[] = []
  const asking: Promise<unknown>[] = []
  const began = performance.now()
  // As many as are due by now, however late the timer comes.
  const load = setInterval(() => {
    const { urls } = processes
    for (let sent = asking.length; sent < ((performance.now() - began) / 1000) * perSecond; sent++) {
      const [url, prompt] = [urls[sent % urls.length]!, prompts[(sent >> 1) % prompts.length]!]
      asking.push(ask(url, prompt).then((answer) => answers.push(answer)))
    }
  }, 10)

  // The third serves and the second is warm: going round finds none warm, and ends so that going back and forth finds each.
  const cold = Array.from({ length: coldRollbacks }, (_, n) => digests[n % 3]!)
  const warm = Array.from({ length: rollbacks }, (_, n) => digests[1 + (n % 2)]!)
  const written: { readonly at: number; readonly to: string }[] = []
  for (const to of [...cold, ...warm]) {
    await serve(to)
    written.push({ at: performance.now(), to })
    await scene.untilReady('True/Serving')
    const enough = answers.length + 10
    await until('requests come through', () => answers.length >= enough)
  }
  const drill = await rollbackDrill()
  clearInterval(load)
  await Promise.all(asking)
  const seconds = (performance.now() - began) / 1000

  const all = written.map(({ at, to }, n) => {
    const next = written[n + 1]?.at ?? Number.POSITIVE_INFINITY
    const earlier = answers.filter(({ ended, digest }) => ended > at && ended < next && digest !== to)
    return earlier.length === 0 ? 0 : (Math.max(...earlier.map(({ ended }) => ended)) - at) / 1000
  })
  const ascending = (times: number[]): number[] => times.toSorted((a, b) => a - b)
  const [ofCold, ofWarm] = [ascending(all.slice(0, coldRollbacks)), ascending(all.slice(coldRollbacks))]
  return {
    suite: 'release',
    replicas: processes.urls.length,
    rollbacks,
    requests: answers.length,
    requestsPerSecond: Number((answers.length / seconds).toFixed(1)),
    medianSeconds: Number(ofWarm[rollbacks / 2]!.toFixed(3)),
    slowestSeconds: Number(ofWarm.at(-1)!.toFixed(3)),
    coldRollbacks,
    coldMedianSeconds: Number(ofCold[(coldRollbacks - 1) / 2]!.toFixed(3)),
    coldSlowestSeconds: Number(ofCold.at(-1)!.toFixed(3)),
    failed: answers.filter(({ ok }) => !ok).length,
    drillThereSeconds: Number(drill.secondsThere),
    drillBackSeconds: Number(drill.secondsBack),
    drillAnswered: drill.answered,
    drillLost: drill.lost,
    mixed: answers.filter(({ ok, digest, prompt, text }) => ok && expected.get(`${digest} ${prompt}`) !== text).length,
  }
}

try {
  const result = await measure()
  console.table(result)
  writeFileSync('bench.json', `${JSON.stringify(result, null, 2)}\n`)
  const isFast = result.slowestSeconds <= slowestSeconds && result.coldSlowestSeconds <= coldSeconds
  const isGood = isFast && result.failed === 0 && result.mixed === 0
  if (!isGood) console.error(`expected at most ${slowestSeconds} s, cold ${coldSeconds} s, 0 failed and 0 mixed`)
  process.exitCode = isGood ? 0 : 1
} finally {
  await scene.end()
  await processes.stop()
  await server.stop()
  await sleep(100)
  await claim.remove()
}
