/** The operator's composition root, and the only reader of its environment. */
import { readFileSync } from 'node:fs'
import pino from 'pino'
import { datasetController } from './dataset/controller.ts'
import { loadKubeConfig } from './kube/client.ts'
import { HumanizerOperator } from './operator.ts'
import { releaseController } from './release/controller.ts'
import { runController } from './run/controller.ts'
import { settingsFrom } from './settings.ts'

const settings = settingsFrom(process.env, (path) => readFileSync(path, 'utf8'))
const log = pino({ level: settings.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime })
const kubeConfig = loadKubeConfig(process.env.KUBECONFIG ? { file: process.env.KUBECONFIG } : {})

// In the order in which work flows through them.
const operator = new HumanizerOperator(settings, kubeConfig, [datasetController, runController, releaseController], log)

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    operator.stop().then(() => process.exit(0))
  })
process.on('unhandledRejection', (error) => {
  log.fatal({ err: error }, 'unhandled rejection')
  process.exit(1)
})

await operator.start()
