/** What a trainer may tell instead of the truth: no release serves by it, and run or release say why in words. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { AdapterRelease } from '../../operator/api/generated/adapterrelease.ts'
import type { QLoRARun } from '../../operator/api/generated/qlorarun.ts'
import { type ApiServer, until } from './api-server.ts'
import { operatorHere } from './operator-here.ts'
import { completes, digestOf, type JobPod, Kubelet, type PodEnd } from './run-kubelet.ts'
import { readyOf, runSpec, User } from './run-objects.ts'
import { ServingPods } from './serving-stand-in.ts'
import { sharedApiServer } from './shared-api-server.ts'

type Report = { baseline: object; checkpoints: { evaluation: object; best?: boolean }[] } & Record<string, unknown>

/** The truth, changed. */
const told = (pod: JobPod, changes: object): PodEnd => {
  const truth = completes(pod)
  return { ...truth, result: { ...(truth.result as object), ...changes } }
}
const report = (pod: JobPod): Report => structuredClone((completes(pod).result as { run: Report }).run)
/** With another best checkpoint. */
const best = (changes: object) => (pod: JobPod) => {
  const run = report(pod)
  run.checkpoints[1] = { ...run.checkpoints[1]!, ...changes }
  return told(pod, { run })
}

interface Lie {
  readonly tells: (pod: JobPod) => PodEnd
  /** Reason and message of the run's Ready. */
  readonly run: RegExp
  readonly release: RegExp
  readonly gates?: object[]
  /** One of the run's warnings. */
  readonly warns?: RegExp
}
const failed = /^RunFailed: run \S+ failed; name one of its checkpoints, or let it succeed/
const noResult = /^RetriesExhausted: .*ResultMissing: the container exited with 0 and told no result$/
const succeeded = /^Succeeded: /
const notMeasured = /^GateInconclusive: \S+\/checkpoint-30 .* is held: evalLoss of \S+ was not measured/

const lies: Record<string, Lie> = {
  'the result of another run': {
    tells: (pod) => told(pod, { ownerUid: 'another' }),
    run: noResult,
    release: failed,
  },
  'the result of another attempt': { tells: (pod) => told(pod, { attempt: 7 }), run: noResult, release: failed },
  'half a result': {
    tells: (pod) => ({ ...completes(pod), result: JSON.stringify(completes(pod).result).slice(0, 200) }),
    run: noResult,
    release: failed,
  },
  nothing: { tells: () => ({ kind: 'end', exitCode: 0 }), run: noResult, release: failed },
  'that it is complete, without a report': {
    tells: (pod) => told(pod, { run: undefined }),
    run: /^RetriesExhausted: .*ResultMissing: the Job completed and told no report$/,
    release: failed,
  },
  'that it is complete, and exits with 1': {
    tells: (pod) => ({ ...completes(pod), exitCode: 1 }),
    run: /^RetriesExhausted: .*Internal: the container exited with 1 and told no result; see its log$/,
    release: failed,
  },
  'losses that are no numbers': {
    tells: best({ evaluation: { step: 30, loss: 'NaN' } }),
    run: succeeded,
    release: notMeasured,
  },
  'the evaluation of another step': {
    tells: best({ evaluation: { step: 15, loss: 1.2 } }),
    run: succeeded,
    release: notMeasured,
    warns: /^the evaluation of checkpoint-30 is left out: it is of step 15$/,
  },
  'a loss that nothing can have': {
    tells: best({ evaluation: { step: 30, loss: -1 } }),
    run: succeeded,
    release: notMeasured,
    warns: /^the evaluation of checkpoint-30 is left out: its loss is -1, expected at least 0$/,
  },
  'a name in the place of a digest': {
    tells: best({ digest: 'latest' }),
    run: succeeded,
    release: /^CheckpointNotFound: .* has no Best; it has checkpoint-15, and calls none the best; name one, or Latest$/,
    warns: /^checkpoint-30 is left out: its digest is "latest", expected a sha256$/,
  },
  'a path that no status has room for': {
    tells: best({ path: 'x/'.repeat(600) }),
    run: /^StatusInvalid: .*status\.checkpoints\[1\]\.path: Too long/s,
    release: /^RunNotFinished: /,
  },
  'that no checkpoint is the best': {
    tells: best({ best: false }),
    run: succeeded,
    release:
      /^CheckpointNotFound: .* has no Best; it has checkpoint-15, checkpoint-30, and calls none the best; name one, or Latest$/,
  },
  'an improvement beyond its own interval': {
    tells: best({
      evaluation: { step: 30, loss: 1.9, metrics: [{ name: 'improvement', value: 9, low: 0.1, high: 0.2 }] },
    }),
    run: succeeded,
    release:
      /^GateError: .* the interval of improvement of \S+ is "0\.100000" to "0\.200000", expected decimals around 9/,
    gates: [{ metric: 'improvement', min: '0' }],
  },
  'that the base was never measured': {
    tells: (pod) => told(pod, { run: { ...report(pod), baseline: undefined } }),
    run: succeeded,
    release: /^GateInconclusive: .* is held: baseline evalLoss of \S+ was not measured/,
  },
}

let server: ApiServer
before(async () => {
  server = await sharedApiServer()
})
after(() => server.stop())

const saidOf = (object: QLoRARun | AdapterRelease): string => {
  const { reason = '', message = '' } = readyOf(object as QLoRARun) ?? {}
  return `${reason}: ${message}`
}

test(`${Object.keys(lies).length} lies of a trainer: none serves, each is told in words`, async (t) => {
  const namespace = await server.namespace()
  const user = new User(server.client(), namespace)
  const names = new Map(Object.keys(lies).map((what, index) => [`lie-${String.fromCharCode(97 + index)}`, what]))
  let hash = ''
  await using kubelet = new Kubelet(server.client(), namespace, (pod) => {
    const lie = lies[names.get(pod.job.replace(/-train-\d+$/, '')) ?? '']
    return pod.command === 'train' && lie ? lie.tells(pod) : completes(pod, hash)
  })
  const pods = new ServingPods(server.client(), namespace)
  await using operator = await operatorHere(server, namespace)
  try {
    await operator.ready()
    hash = await user.start() // a run that tells the truth is the first
    const release = (
      name: string,
      gates: object[] = [{ metric: 'evalLoss', maxRegression: '0', against: 'Baseline' }],
    ) =>
      user.make('adapterreleases', {
        apiVersion: 'humanizer.dev/v1alpha1',
        kind: 'AdapterRelease',
        metadata: { name },
        spec: { source: { run: { name } }, gates },
      })
    await release('prose')
    for (const [name, what] of names) {
      await user.create('QLoRARun', name, { ...runSpec, maxRetries: 0 })
      await release(name, lies[what]!.gates)
    }
    const releaseOf = (name: string) => user.get<AdapterRelease>('adapterreleases', name)
    await until('the truth serves', async () => /^Serving/.test(saidOf(await releaseOf('prose'))), 120)
    assert.equal((await releaseOf('prose')).status?.active?.digest, digestOf('2'))
    for (const [name, what] of names)
      await t.test(`a trainer that tells ${what}`, async () => {
        const { run: ofRun, release: ofRelease, warns } = lies[what]!
        let seen = ['', '']
        await until(
          `${name} to say so`,
          async () => {
            seen = [saidOf(await user.run(name)), saidOf(await releaseOf(name))]
            return ofRun.test(seen[0]!) && ofRelease.test(seen[1]!)
          },
          20,
        ).catch((error) => {
          throw new Error(`${error.message}; they say\n${seen.join('\n')}`)
        })
        const { warnings = [] } = (await user.run(name)).status ?? {}
        if (warns)
          assert.ok(
            warnings.some((warning) => warns.test(warning)),
            warnings.join('\n'),
          )
        const { status } = await releaseOf(name)
        assert.deepEqual([status?.active, status?.history], [undefined, undefined])
        assert.equal(readyOf((await releaseOf(name)) as never)?.status, 'False')
      })
    assert.equal(new Set(kubelet.jobsOf('train')).size, names.size + 1, 'nothing trains twice by a lie')
  } finally {
    await pods.stop()
  }
})
