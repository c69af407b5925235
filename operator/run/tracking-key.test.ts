import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { QLoRARunSpec } from '../api/generated/qlorarun.ts'
import { configDigest, trainConfig } from './train-config.ts'
import { trainChildren } from './train-job.ts'
import { run } from './world.ts'

type Tracking = NonNullable<QLoRARunSpec['logging']['weightsAndBiases']>
const given = (tracking?: Partial<Tracking>) =>
  run({
    logging: {
      everySteps: 25,
      tensorBoard: true,
      ...(tracking && {
        weightsAndBiases: {
          project: 'prose',
          baseURL: 'https://api.wandb.ai',
          mode: 'Online',
          samples: false,
          ...tracking,
        },
      }),
    },
  })
const secretRef = { name: 'wandb', key: 'apiKey' }
const plan = { microBatchSize: 4, gradientAccumulation: 4 }
const settings = { trainerImage: 'trainer', trainerImagePullPolicy: 'IfNotPresent', publicKeyPem: '' }
const reclaim = { uid: 'u', live: [], sweep: false } as never

/** The Job's volumes of Secrets, and its whole text. */
function jobOf(tracking?: Partial<Tracking>) {
  const [config, job] = trainChildren(
    given(tracking),
    1,
    plan,
    { name: 'humanizer', singleNode: false },
    settings,
    reclaim,
  )
  const pod = (job as unknown as { spec: { template: { spec: { volumes: { secret?: object }[] } } } }).spec.template
    .spec
  return { secrets: pod.volumes.flatMap(({ secret }) => secret ?? []), text: JSON.stringify([config, job]) }
}

test('the key is one optional file of the training pod: a Secret that is missing holds no run up', () => {
  const { secrets, text } = jobOf({ secretRef })
  const items = [{ key: 'apiKey', path: 'token' }]
  assert.deepEqual(secrets, [{ secretName: 'wandb', defaultMode: 0o440, items, optional: true }])
  assert.ok(!text.includes('secretKeyRef'), 'no environment variable holds it')
  assert.match(text, /\/etc\/humanizer-secrets\/weights-and-biases\/token/)
})

test('without a tracking server, and offline, no Secret is mounted', () => {
  assert.deepEqual(jobOf().secrets, [])
  assert.deepEqual(jobOf({ mode: 'Offline', secretRef }).secrets, [])
})

test('the trainer is told where and how; the identity of the configuration does not change with it', () => {
  const { logging } = trainConfig(given({ entity: 'team', samples: true, secretRef }), 1, plan, '', reclaim)
  assert.deepEqual(logging?.weightsAndBiases, {
    baseUrl: 'https://api.wandb.ai',
    entity: 'team',
    project: 'prose',
    mode: 'Online',
    samples: true,
    keyFile: '/etc/humanizer-secrets/weights-and-biases/token',
  })
  assert.equal(trainConfig(given(), 1, plan, '', reclaim).logging?.weightsAndBiases, undefined)
  assert.equal(configDigest(given({ secretRef })), configDigest(given()))
})
