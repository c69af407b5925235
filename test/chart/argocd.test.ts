/** Argo CD's health checks, run as Argo CD runs them: gopher-lua without the string and os libraries. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { load } from 'js-yaml'
import { chart } from './helm.ts'

const customizations = `${chart}argocd/resource_customizations`
const kinds = ['AdapterRelease', 'HumanizerDataset', 'QLoRARun']

interface Result {
  readonly kind: string
  readonly input: string
  readonly want: object
  readonly got: { readonly status: string }
  readonly error?: string
}

const { stdout } = await promisify(execFile)('go', ['run', '.', customizations], {
  cwd: new URL('lua/', import.meta.url),
  timeout: 600_000,
})
const results = stdout
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Result)

for (const { kind, input, want, got, error } of results)
  test(`health of ${kind}: ${input}`, () => {
    assert.equal(error, undefined)
    assert.deepEqual(got, want)
  })

for (const kind of kinds)
  test(`${kind} has at least eight inputs, each of them used, and every answer it can give`, () => {
    const own = results.filter((result) => result.kind === kind)
    const inputs = readdirSync(`${customizations}/humanizer.dev/${kind}/testdata`)
    assert.ok(own.length >= 8)
    assert.deepEqual(own.map(({ input }) => input).sort(), inputs.sort())
    const answers = new Set(own.map(({ got }) => got.status))
    const wanted = ['Degraded', 'Healthy', 'Progressing', ...(kind === 'HumanizerDataset' ? [] : ['Suspended'])]
    assert.deepEqual([...answers].sort(), wanted)
  })

test('argocd-cm.yaml holds the same scripts', () => {
  const { data } = load(readFileSync(`${chart}argocd/argocd-cm.yaml`, 'utf8')) as { data: Record<string, string> }
  assert.equal(Object.keys(data).length, kinds.length)
  for (const kind of kinds)
    assert.equal(
      data[`resource.customizations.health.humanizer.dev_${kind}`],
      readFileSync(`${customizations}/humanizer.dev/${kind}/health.lua`, 'utf8'),
    )
})
