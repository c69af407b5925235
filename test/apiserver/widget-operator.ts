/** The operator as it is, with the tests' own controller in place of the three: a process to be killed. */
import { readFileSync } from 'node:fs'
import pino from 'pino'
import { loadKubeConfig } from '../../operator/kube/client.ts'
import { HumanizerOperator } from '../../operator/operator.ts'
import { settingsFrom } from '../../operator/settings.ts'
import { widgetController } from './widget.ts'

const settings = settingsFrom(process.env, (path) => readFileSync(path, 'utf8'))
const kubeConfig = loadKubeConfig({ file: process.env.KUBECONFIG! })
const operator = new HumanizerOperator(settings, kubeConfig, [widgetController], pino({ level: 'info' }))
process.once('SIGTERM', () => {
  operator.stop().then(() => process.exit(0))
})
await operator.start()
