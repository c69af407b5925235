import { generateKeyPairSync } from 'node:crypto'
import { datasetController } from '../../operator/dataset/controller.ts'
import { loadKubeConfig } from '../../operator/kube/client.ts'
import { type ControllerFactory, HumanizerOperator } from '../../operator/operator.ts'
import { releaseController } from '../../operator/release/controller.ts'
import { runController } from '../../operator/run/controller.ts'
import { settingsFrom } from '../../operator/settings.ts'
import { type ApiServer, until } from './api-server.ts'
import { silent } from './widget.ts'

export interface OperatorHereOptions {
  readonly podName?: string
  readonly trainerImage?: string
  /** PKCS #8 PEM; absent: one of its own. */
  readonly signingKey?: string
  /** Absent: all three. */
  readonly controllers?: readonly ControllerFactory[]
}

/** An operator in the test's own process, for one that is not killed: a process of its own takes half a second of processor time to load. */
export class OperatorHere extends HumanizerOperator implements AsyncDisposable {
  async ready(): Promise<void> {
    const page = `http://127.0.0.1:${this.ports.health}/readyz`
    await until('the operator is ready', async () => (await fetch(page)).ok)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}

export async function operatorHere(
  server: ApiServer,
  namespace: string,
  {
    podName = 'operator-0',
    trainerImage = 'trainer:test',
    signingKey = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    controllers = [datasetController, runController, releaseController],
  }: OperatorHereOptions = {},
): Promise<OperatorHere> {
  const env = {
    POD_NAMESPACE: namespace,
    POD_NAME: podName,
    TRAINER_IMAGE: trainerImage,
    SIGNING_KEY_FILE: 'key.pem',
    WATCH_NAMESPACES: namespace,
    METRICS_PORT: '0',
    HEALTH_PORT: '0',
  }
  const config = loadKubeConfig({ text: server.kubeConfig() })
  const operator = new OperatorHere(
    settingsFrom(env, () => signingKey),
    config,
    controllers,
    silent,
  )
  await operator.start()
  return operator
}
