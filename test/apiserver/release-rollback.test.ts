/** How long a rollback takes: from the API server's answer to a new spec.source until every pod has the other digest. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type ApiServer, startApiServer } from './api-server.ts'
import { digestOf, ReleaseScene } from './release-scene.ts'

const [a, b] = ['a', 'b'].map(digestOf) as [string, string]
const rollbacks = 50
const slowestSeconds = 2

let server: ApiServer
let scene: ReleaseScene

before(async () => {
  server = await startApiServer({ controllerManager: true })
  scene = await ReleaseScene.begin(server)
})
after(async () => {
  await scene?.end()
  await server.stop()
})

test(`each of ${rollbacks} rollbacks to a promoted digest takes less than ${slowestSeconds} s, by signed calls alone`, async () => {
  const serving = { replicas: 2, port: 8000 }
  await scene.finishedRun()
  for (const checkpoint of ['Best', 'checkpoint-12']) {
    await scene.apply({ source: { run: { name: 'prose', checkpoint } }, serving })
    await scene.untilReady('True/Serving')
  }
  scene.pods.slowFiles = true
  const seconds: number[] = []
  for (let n = 0; n < rollbacks; n++) {
    const digest = n % 2 ? a : b
    await scene.apply({ source: { digest }, serving })
    const began = performance.now()
    while (!scene.pods.digests.every((each) => each === digest)) await new Promise((resolve) => setTimeout(resolve, 2))
    seconds.push((performance.now() - began) / 1000)
    if (n % 3 === 0) await scene.untilReady('True/Serving')
  }
  seconds.sort((x, y) => x - y)
  const [median, slowest] = [seconds[rollbacks / 2]!, seconds.at(-1)!]
  console.log(`rollback: median ${median.toFixed(2)} s, slowest of ${rollbacks} ${slowest.toFixed(2)} s`)
  assert.ok(slowest < slowestSeconds, `the slowest took ${slowest.toFixed(2)} s`)
  await scene.untilReady('True/Serving')
})
