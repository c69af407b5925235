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

test('a pod with a GPU tolerates the taint of its nodes, takes the runtime class and stays unprivileged', () => {
  const own = { key: 'team', operator: 'Equal', value: 'text', effect: 'NoSchedule' }
  const spec = (limits: Record<string, unknown>) =>
    workloadPod({
      owner: {
        apiVersion: 'humanizer.dev/v1alpha1',
        kind: 'QLoRARun',
        namespace: 'n',
        name: 'prose',
        uid: 'u',
        queueLabels: {},
      },
      settings: { trainerImage: 'image', trainerImagePullPolicy: 'IfNotPresent' },
      command: 'train',
      configMapName: 'prose-train-1',
      claim: { name: 'humanizer', singleNode: false },
      options: { resources: { limits }, tolerations: [own], runtimeClassName: 'nvidia' },
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 1,
    }).spec as {
      tolerations: object[]
      runtimeClassName: string
      securityContext: { runAsNonRoot: boolean }
      containers: { resources: object; securityContext: { allowPrivilegeEscalation: boolean; privileged?: boolean } }[]
    }
  const { tolerations, runtimeClassName, securityContext, containers } = spec({ 'nvidia.com/gpu': 1 })
  assert.deepEqual(tolerations, [own, { key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }])
  assert.equal(runtimeClassName, 'nvidia')
  assert.equal(securityContext.runAsNonRoot, true)
  assert.deepEqual(containers[0]?.resources, { limits: { 'nvidia.com/gpu': 1 } })
  assert.equal(containers[0]?.securityContext.allowPrivilegeEscalation, false)
  assert.equal(containers[0]?.securityContext.privileged, undefined)
  assert.deepEqual(spec({ 'nvidia.com/mig-1g.10gb': 1 }).tolerations, tolerations)
  assert.deepEqual(spec({ cpu: 1 }).tolerations, [own])
})
