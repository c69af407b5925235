/** What a pod says of the requests of the last minute: by the adapter that they ran on, failures apart. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Claim, desired, modelName, ServingPod } from './serving-pod.ts'

test('a pod counts the requests that its adapter answered, none of the base beside it, and begins anew with another adapter', async () => {
  const claim = await Claim.create()
  const adapter = await claim.checkpoint('one', 1)
  await claim.want(1, adapter)
  const pod = await ServingPod.start(claim)
  try {
    await pod.until('ready', (status) => status === 200)
    const health = async () => (await pod.readiness()).state.health
    assert.deepEqual(await health(), { windowSeconds: 60, requests: 0, errors: 0, firstTokenP95Seconds: 0 })
    for (const prompt of ['The old house', 'She said that', 'A letter came']) await pod.say(prompt)
    await pod.say('The old house', { model: `${modelName}@base` })
    const tooLong = await pod.say('The old house', { max_tokens: 1_000_000 })
    assert.equal(tooLong.status, 400)
    const { firstTokenP95Seconds = 0, ...counts } = (await health()) ?? {}
    assert.deepEqual(
      counts,
      { windowSeconds: 60, requests: 4, errors: 0 },
      "a client's mistake is an answer, not an error",
    )
    assert.ok(firstTokenP95Seconds > 0 && firstTokenP95Seconds < 30, `${firstTokenP95Seconds} s`)
    await pod.activate(desired(2, undefined))
    assert.equal((await health())?.requests, 1, 'the base had one')
  } finally {
    await pod.stop('SIGKILL')
    await claim.remove()
  }
})
