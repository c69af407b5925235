/** What serving pods may say and do instead of the truth: no release becomes Ready or active by it, and a person reads why. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import type { AdapterRelease } from '../../operator/api/generated/adapterrelease.ts'
import { type ApiServer, until } from './api-server.ts'
import { digestOf, ReleaseScene, readyOf } from './release-scene.ts'
import type { Lie } from './serving-stand-in.ts'
import { sharedApiServer } from './shared-api-server.ts'

const [b, c] = ['b', 'c'].map(digestOf) as [string, string]
const health = { windowSeconds: 60, requests: 40, errors: 0, firstTokenP95Seconds: 0.1 }
const jsonOf = (state: ServingState, changes: object): string =>
  JSON.stringify({ ...(ServingState.toJSON(state) as object), ...changes })

/** What a pod says of itself; the run's best checkpoint is b. */
const lies: Record<
  string,
  { readonly lie: Lie; readonly says: RegExp; readonly reason?: string; readonly replicas?: number }
> = {
  'another digest than it was told': {
    lie: (state) => ({ ...state, digest: c }),
    says: /says it has sha256:cccc\w+ at generation 1, expected prose\/checkpoint-24 .* at 1$/,
  },
  'that it serves the base': {
    lie: (state) => ({ ...state, digest: '' }),
    says: /says it has base at generation 1, expected prose\/checkpoint-24/,
  },
  'that it is half loaded: a digest, and no time of loading': {
    lie: (state) => ({ ...state, digest: b, generation: 1, loadedTime: '' }),
    says: /names sha256:bbbb\w+ at generation 1, but no time at which it had loaded that$/,
  },
  'a generation before the one that it was given': {
    lie: (state) => ({ ...state, generation: 0 }),
    reason: 'Switching',
    says: /^0 of 1 pods have loaded prose\/checkpoint-24 .* has sha256:bbbb\w+ at generation 0$/,
  },
  'a generation that nobody gave out': {
    lie: (state) => ({ ...state, generation: 2 ** 50 }),
    says: /at generation 1125899906842624, expected/,
  },
  'always one generation more than it was given': {
    lie: (state) => ({ ...state, generation: state.generation && state.generation + 1 }),
    says: /says it has sha256:bbbb\w+ at generation \d+, expected/,
  },
  'a generation below nothing': {
    lie: (state) => jsonOf(state, { generation: -1 }),
    says: /generation is -1, expected a count$/,
  },
  'the uid of another pod': {
    lie: (state) => ({ ...state, podUid: 'another' }),
    says: /answers as pod "another", expected "[-\w]{36}"$/,
  },
  'no uid': { lie: (state) => ({ ...state, podUid: '' }), says: /answers as pod "", expected/ },
  'that it loaded before its container started': {
    lie: (state, { startedAt }) => ({ ...state, loadedTime: new Date(Date.parse(startedAt) - 5000).toISOString() }),
    says: /says that it loaded at .*, before its container started at/,
  },
  'that it loaded in an hour': {
    lie: (state) => ({ ...state, loadedTime: new Date(Date.now() + 3_600_000).toISOString() }),
    says: /says that it loaded at .*, which is yet to come$/,
  },
  'a time that is none': {
    lie: (state) => ({ ...state, loadedTime: 'just now' }),
    says: /loadedTime is "just now", expected a time$/,
  },
  'a name in the place of a digest': {
    lie: (state) => ({ ...state, digest: 'checkpoint-24' }),
    says: /digest is "checkpoint-24", expected a sha256 or nothing$/,
  },
  'that it is ready, without a model': {
    lie: (state) => ServingState.fromPartial({ podUid: state.podUid }),
    reason: 'Switching',
    says: /^0 of 1 pods have loaded prose\/checkpoint-24 .* has loaded nothing yet$/,
  },
  'just ok': { lie: () => 'ok', says: /readiness page is "ok", expected a ServingState as JSON$/ },
  'half a page': {
    lie: (state) => jsonOf(state, {}).slice(0, 30),
    says: /readiness page is ".*", expected a ServingState as JSON$/,
  },
  'a page without an end': {
    lie: (state) => jsonOf(state, { failure: 'x'.repeat(20_000) }),
    says: /readiness page has 20\d{3} characters, expected at most 16384$/,
  },
  'metrics that are no numbers': {
    lie: (state) => jsonOf(state, { health: { ...health, firstTokenP95Seconds: 'NaN' } }),
    says: /health\.firstTokenP95Seconds is NaN, expected seconds$/,
  },
  'negative counts': {
    lie: (state) => jsonOf(state, { health: { ...health, errors: -3 } }),
    says: /health\.errors is -3, expected a count$/,
  },
  'more errors than requests': {
    lie: (state) => jsonOf(state, { health: { ...health, errors: 41 } }),
    says: /health counts 41 errors among 40 requests$/,
  },
  'that fewer requests than none were answered': {
    lie: (state) => jsonOf(state, { answeredRequests: -1 }),
    says: /answeredRequests is -1, expected a count$/,
  },
  'that it failed at what it has loaded': {
    lie: (state) => ({ ...state, failure: 'no', failedGeneration: state.generation }),
    reason: 'LoadFailed',
    says: /^prose\/checkpoint-24 .* was refused: pod \S+: no$/,
  },
  'the truth, and its neighbour another digest': {
    lie: (state, { index }) => (index % 2 === 0 ? state : { ...state, digest: c }),
    replicas: 2,
    says: /says it has sha256:cccc\w+ at generation 1, expected prose\/checkpoint-24/,
  },
  'nothing, once it is ready': {
    lie: () => '',
    says: /readiness page is "", expected a ServingState as JSON$/,
  },
}

let server: ApiServer
let scene: ReleaseScene

before(async () => {
  server = await sharedApiServer()
  scene = await ReleaseScene.begin(server)
  await scene.finishedRun()
})
after(async () => {
  await scene?.end()
  await server.stop()
})

const best = { source: { run: { name: 'prose', checkpoint: 'Best' } } }
const messageOf = ({ status }: AdapterRelease): string =>
  status?.conditions?.find(({ type }) => type === 'Ready')?.message ?? ''

const every = { concurrency: true }
test(
  `${Object.keys(lies).length} lies of serving pods: none makes a release Ready or active, each is told in words, and the truth ends it`,
  every,
  async (t) => {
    assert.ok(Object.keys(lies).length >= 20)
    await Promise.all(
      Object.entries(lies).map(([what, { lie, says, reason = 'PodsDisagree', replicas = 1 }], index) =>
        t.test(`a pod that says ${what}`, async () => {
          const name = `liar-${String.fromCharCode(97 + index)}`
          scene.pods.lies.set(name, lie)
          await scene.apply({ ...best, serving: { replicas, port: 8000 } }, name)
          let seen: AdapterRelease | undefined
          await until(
            `${name} to say so`,
            async () => {
              seen = await scene.get(name)
              assert.notEqual(readyOf(seen), 'True/Serving')
              return readyOf(seen) === `False/${reason}` && says.test(messageOf(seen))
            },
            180,
          ).catch((error) => {
            throw new Error(`${error.message}; it says ${seen && readyOf(seen)}: ${seen && messageOf(seen)}`)
          })
          // Whatever served stands in history for good.
          assert.deepEqual([seen?.status?.active, seen?.status?.history], [undefined, undefined])
          scene.pods.lies.delete(name)
          if (reason === 'LoadFailed') return // a refusal stands until the spec changes
          await scene.untilReady('True/Serving', { name, limitSeconds: 180 })
        }),
      ),
    )
  },
)

test('a pod that begins to lie takes its release out of Ready, and what it served stays the active one', async () => {
  await scene.apply(best, 'turned')
  await scene.untilReady('True/Serving', { name: 'turned' })
  scene.pods.lies.set('turned', (state) => ({ ...state, podUid: 'another' }))
  const { status } = await scene.untilReady('False/PodsDisagree', { name: 'turned', limitSeconds: 30 })
  assert.deepEqual([status?.active?.digest, status?.pods?.[0]?.digest], [b, undefined])
})
