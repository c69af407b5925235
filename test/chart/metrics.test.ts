/** What docs/metrics.md and the chart's alerts say is what the operator and the serving pods tell Prometheus. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { parser } from '@prometheus-io/lezer-promql'
import { load } from 'js-yaml'
import type { Registry } from 'prom-client'
import { createMetrics as operatorMetrics } from '../../operator/kube/metrics.ts'
import type { Adapter } from '../../operator/release/adapter.ts'
import { release, run } from '../../operator/release/objects.ts'
import { deploymentName, servingObjects } from '../../operator/release/serving.ts'
import { resolveSource } from '../../operator/release/source.ts'
import { World } from '../../operator/release/world.ts'
import { registerGpuMetrics } from '../../trainer-image/serve/gpu-metrics.ts'
import { createMetrics as servingMetrics } from '../../trainer-image/serve/metrics.ts'
import { blocksOf } from '../cluster/commands.ts'
import { type Manifest, only, render } from './helm.ts'

const document = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
let rules: Manifest[]
before(async () => {
  const all = await render({ metrics: { prometheusRule: { enabled: true, labels: { release: 'prometheus' } } } })
  const rule = only(all, 'PrometheusRule')
  assert.equal(rule.metadata.labels.release, 'prometheus')
  rules = rule.spec.groups.flatMap((group: Manifest) => group.rules)
})

const operator = operatorMetrics().registry
const serving = servingMetrics({ load: () => ({ running: 0, waiting: 0 }), state: () => ({}) as never }).registry
registerGpuMetrics(serving, () => undefined)

/** "name labels" of the metrics that are our own. */
const told = (registry: Registry): string[] =>
  registry
    .getMetricsAsArray()
    .filter(({ name }) => name.startsWith('humanizer_'))
    .map((metric) => [metric.name, ...(metric as unknown as { labelNames: string[] }).labelNames].join(' '))
    .sort()

test('docs/metrics.md has every metric with its labels, and no other', () => {
  const rows = [...document.matchAll(/^\| `(humanizer_[a-z_]+)` \| ([a-z, ]*)\|/gm)]
  const written = rows.map(([, name, labels]) => [name, ...labels!.split(',').map((label) => label.trim())].join(' '))
  assert.deepEqual(written.map((row) => row.trim()).sort(), [...told(operator), ...told(serving)].sort())
})

test('docs/metrics.md has every alert, and no other', () => {
  const written = [...document.matchAll(/^\| `(Humanizer[A-Za-z]+)` \|/gm)].map(([, name]) => name)
  assert.deepEqual(
    written,
    rules.map(({ alert }) => alert),
  )
})

/** Names and label names of the vector selectors of an expression; throws where Prometheus's grammar finds an error. */
function selectors(expression: string): { name: string; labels: string[] }[] {
  const found: { name: string; labels: string[] }[] = []
  parser.parse(expression).iterate({
    enter({ type, from, to }) {
      if (type.isError) throw new Error(`${expression}: not PromQL at "${expression.slice(from)}"`)
      if (type.name === 'VectorSelector') found.push({ name: '', labels: [] })
      if (type.name === 'Identifier') found.at(-1)!.name = expression.slice(from, to)
      if (type.name === 'LabelName' && found.length > 0) found.at(-1)!.labels.push(expression.slice(from, to))
    },
  })
  return found
}

test('each alert is PromQL over metrics and labels that the operator has, within the chart’s namespace', () => {
  assert.throws(() => selectors('max(humanizer_leader'), /not PromQL/)
  const known = new Map(told(operator).map((row) => [row.split(' ')[0], row.split(' ').slice(1)]))
  for (const { alert, expr, annotations } of rules) {
    const used = selectors(expr)
    assert.ok(used.length > 0, alert)
    for (const { name, labels } of used) {
      assert.ok(labels.includes('namespace'), `${alert}: ${expr}`)
      for (const label of labels)
        assert.ok(['namespace', ...(known.get(name) ?? [])].includes(label), `${alert}: ${name}{${label}}`)
    }
    assert.ok(annotations.summary && annotations.description, alert)
  }
})

test('the PodMonitor of docs/metrics.md selects the pods of a release, and a port that they have', () => {
  const typed = blocksOf(document).find((block) => block.includes('PodMonitor'))!
  const { spec } = load(/<<EOF\n([\s\S]*)EOF/.exec(typed)![1]!) as Manifest
  const { adapter } = resolveSource(release(), { runs: [run()], releases: [] }) as { adapter: Adapter }
  const { settings } = new World()
  const deployment = deploymentName(release(), adapter, settings.trainerImage)
  const claim = { name: 'humanizer', singleNode: false }
  const objects = servingObjects(release(), { deployment, adapter, serviceTo: deployment, claim, settings })
  const { template } = (only(objects as Manifest[], 'Deployment') as Manifest).spec
  for (const { key } of spec.selector.matchExpressions) assert.ok(template.metadata.labels[key], key)
  for (const label of spec.podTargetLabels) assert.ok(template.metadata.labels[label], label)
  const ports = template.spec.containers.flatMap((container: Manifest) => container.ports)
  for (const { port } of spec.podMetricsEndpoints)
    assert.ok(
      ports.some(({ name }: Manifest) => name === port),
      port,
    )
})
