/** Rollbacks to what was promoted before need neither gates nor files; how long they take is measured by `make bench SUITE=release`. */
import { after, before, test } from 'node:test'
import { type ApiServer, until } from './api-server.ts'
import { digestOf, ReleaseScene } from './release-scene.ts'
import { sharedApiServer } from './shared-api-server.ts'

const [a, b] = ['a', 'b'].map(digestOf) as [string, string]

let server: ApiServer
let scene: ReleaseScene

before(async () => {
  server = await sharedApiServer()
  scene = await ReleaseScene.begin(server)
})
after(async () => {
  await scene?.end()
  await server.stop()
})

test('rollbacks to promoted digests reach every pod by signed calls alone', async () => {
  const serving = { replicas: 2, port: 8000 }
  await scene.finishedRun()
  for (const checkpoint of ['Best', 'checkpoint-12']) {
    await scene.apply({ source: { run: { name: 'prose', checkpoint } }, serving })
    await scene.untilReady('True/Serving')
  }
  scene.pods.slowFiles = true
  for (let n = 0; n < 12; n++) {
    const digest = n % 2 ? a : b
    await scene.apply({ source: { digest }, serving })
    await until('every pod to serve it', () => scene.pods.digests.every((each) => each === digest), 30)
    if (n % 3 === 0) await scene.untilReady('True/Serving')
  }
  await scene.untilReady('True/Serving')
})
