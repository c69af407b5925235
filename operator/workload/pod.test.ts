import assert from 'node:assert/strict'
import { test } from 'node:test'
import { workloadPod } from './pod.ts'

test('a claim that is mounted twice is one volume with two mounts, each as writable as it asked for', () => {
  const pod = workloadPod({
    owner: {
      apiVersion: 'humanizer.dev/v1alpha1',
      kind: 'HumanizerDataset',
      namespace: 'n',
      name: 'prose',
      uid: 'u',
      queueLabels: {},
    },
    settings: { trainerImage: 'image', trainerImagePullPolicy: 'IfNotPresent' },
    command: 'prepare',
    configMapName: 'prose-prepare-1',
    claim: { name: 'humanizer', singleNode: false },
    mounts: [
      {
        name: 'source-prose',
        source: { persistentVolumeClaim: { claimName: 'humanizer' } },
        mountPath: '/sources/prose',
        readOnly: true,
      },
    ],
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: 1,
  })
  const spec = pod.spec as {
    volumes: { name: string; persistentVolumeClaim?: object }[]
    containers: { volumeMounts: { name: string; mountPath: string; readOnly: boolean }[] }[]
  }
  assert.equal(spec.volumes.filter((volume) => volume.persistentVolumeClaim).length, 1)
  assert.deepEqual(
    spec.containers[0]?.volumeMounts.filter(({ name }) => name === 'data'),
    [
      { name: 'data', mountPath: '/data', readOnly: false },
      { name: 'data', mountPath: '/sources/prose', readOnly: true },
    ],
  )
})
