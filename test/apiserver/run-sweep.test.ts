import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { FAULT_EXIT_CODE } from '../../operator/kube/fault.ts'
import type { ApiServer } from './api-server.ts'
import { operatorHere } from './operator-here.ts'
import { operatorIn, reaches, scene } from './run-scene.ts'
import { sharedApiServer } from './shared-api-server.ts'

let server: ApiServer

before(async () => {
  server = await sharedApiServer()
})
after(() => server.stop())

test('killed after every one of its writes, the operator comes to the same end and nothing trains twice', async () => {
  const swept: number[] = []
  const sweep = async (n: number): Promise<boolean> => {
    const { namespace, user, kubelet, start } = await scene(server)
    await using _ = kubelet
    await start()
    await using faulty = operatorIn(server, namespace, { FAULT_AFTER_MUTATION: String(n) })
    const done = reaches(user, 'Succeeded').then(() => 'done' as const)
    const first = await Promise.race([faulty.exited, done])
    if (first === 'done') return false
    assert.equal(first, FAULT_EXIT_CODE, faulty.lastWords)
    await using healthy = await operatorHere(server, namespace)
    await done
    await healthy.ready()
    assert.deepEqual(
      kubelet.seen.map(({ job }) => job),
      ['prose-prepare-1', 'prose-fetch-1', 'prose-train-1'],
      `killed after write ${n}`,
    )
    const { status } = await user.run()
    assert.deepEqual([status?.attempts?.length, status?.failures], [1, 0], `killed after write ${n}`)
    swept.push(n)
    return true
  }
  const workers = [1, 2, 3].map(async (first) => {
    for (let n = first; await sweep(n); n += 3);
  })
  await Promise.all(workers)
  console.log(`# killed after each of ${swept.length} writes`)
  assert.ok(swept.length >= 20, `only ${swept.length} writes`)
})

test('killed after the first write of each of its lives, the operator comes to the same end', async () => {
  const { namespace, user, kubelet, start } = await scene(server)
  await using _ = kubelet
  await start()
  const ended = reaches(user, 'Succeeded', 300).then(() => 'done' as const)
  let deaths = 0
  for (;;) {
    await using operator = operatorIn(server, namespace, { FAULT_AFTER_MUTATION: '1' })
    const first = await Promise.race([operator.exited, ended])
    if (first === 'done') break
    assert.equal(first, FAULT_EXIT_CODE, operator.lastWords)
    deaths += 1
  }
  assert.deepEqual(
    kubelet.seen.map(({ job }) => job),
    ['prose-prepare-1', 'prose-fetch-1', 'prose-train-1'],
  )
  const { status } = await user.run()
  assert.deepEqual([status?.attempts?.length, status?.failures], [1, 0])
  assert.ok(deaths >= 12, `only ${deaths} deaths`)
  console.log(`# ${deaths} lives of one write each`)
})
