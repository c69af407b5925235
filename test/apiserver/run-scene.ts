/** A dataset and a run in a namespace of their own, with a user, a kubelet and an operator process. */
import { type ApiServer, until } from './api-server.ts'
import { OperatorProcess } from './operator-process.ts'
import { completes, type JobPod, Kubelet, type PodScript } from './run-kubelet.ts'
import { reasonOf, User } from './run-objects.ts'

export const operatorIn = (server: ApiServer, namespace: string, env: Record<string, string> = {}): OperatorProcess =>
  new OperatorProcess({
    program: 'build/operator.mjs',
    kubeConfigFile: server.kubeConfigFile(),
    namespace,
    podName: 'operator-0',
    env,
  })

/** A namespace with a user and a kubelet; `train` says what the n-th pod (from 0) of the run does. */
export async function scene(server: ApiServer, train: (pod: JobPod, n: number) => PodScript = (pod) => completes(pod)) {
  const namespace = await server.namespace()
  const user = new User(server.client(), namespace)
  let hash = ''
  let trainers = 0
  const kubelet = new Kubelet(server.client(), namespace, (pod) =>
    pod.command === 'train' ? train(pod, trainers++) : completes(pod, hash),
  )
  return {
    namespace,
    user,
    kubelet,
    start: async (run?: object, labels?: object) => {
      hash = await user.start(run, labels)
    },
  }
}

export const reaches = (user: User, reason: string, limitSeconds = 180): Promise<number> =>
  until(`the run is ${reason}`, async () => reasonOf(await user.run()) === reason, limitSeconds)
