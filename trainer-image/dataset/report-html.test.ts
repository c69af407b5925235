import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import type { PreparationResult } from '#proto/humanizer/trainer/v1/preparation.ts'
import { type Opened, openPage } from '../../test/fixtures/browser.ts'
import { machineText, prose } from '../../test/fixtures/sources.ts'
import { keptOf, removals } from './funnel.ts'
import { prepare } from './prepare.ts'
import { configOf, contextOf } from './preparing.ts'
import type { Report } from './report.ts'

const root = await mkdtemp(join(tmpdir(), 'report-html-'))
after(() => rm(root, { recursive: true, force: true }))

const long = prose.slice(130).find((text) => text.split(' ').length > 120) as string
const hostile = `<script>window.hacked = 1</script><img src="https://outside.invalid/x" onerror="window.hacked = 1"> & "so" ${prose[70]}`
const labelled = [
  ...prose.slice(0, 60).map((text) => ({ text, label: 'human' })),
  ...Array.from({ length: 4 }, () => ({ text: prose[0], label: 'human' })),
  { text: long, label: 'human' },
  { text: long.replace(/\S+$/, 'changed'), label: 'human' },
  ...[hostile, `${hostile} more`].map((text) => ({ text, label: 'human' })),
  { text: '<b>Short.</b>', label: 'human' },
  { text: machineText(1), label: 'ai' },
]
const jsonl = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('')

let result: PreparationResult
let report: Report
let opened: Opened
let folder: string
before(async () => {
  const [labels, plain] = [join(root, 'labels.jsonl'), join(root, 'plain.jsonl')]
  await writeFile(labels, jsonl(labelled))
  await writeFile(plain, jsonl(prose.slice(80, 120).map((text) => ({ text }))))
  const keep = { policy: 'Matching', column: 'label', values: ['human'] }
  const cleaning = {
    minCharacters: 50,
    maxCharacters: 8000,
    minWords: 10,
    removeUrls: false,
    removeEmails: true,
    languages: [],
  }
  const config = configOf([{ filePath: labels, keep }, { filePath: plain }], { cleaning })
  result = await prepare(config, contextOf(root))
  folder = join(root, result.location)
  report = JSON.parse(await readFile(join(folder, 'report.json'), 'utf8'))
  opened = await openPage(pathToFileURL(join(folder, 'report.html')).href, [
    'document.body.innerText',
    'window.hacked ?? 0',
    'document.querySelectorAll("script, body img").length',
    '[...document.querySelectorAll("svg.funnel .name")].map((each) => each.textContent)',
    '[...document.querySelectorAll("td ins")].map((each) => each.textContent)',
    'document.querySelector("pre").textContent',
    // What sticks out of its picture cannot be read.
    `[...document.querySelectorAll("svg")].flatMap((svg) => [...svg.querySelectorAll("text")].filter((text) => {
      const [outer, inner] = [svg.getBoundingClientRect(), text.getBoundingClientRect()]
      return inner.left < outer.left - 1 || inner.right > outer.right + 1
    }).map((text) => text.textContent))`,
    // The page in a window of a telephone, by day and by night: whether something sticks out, and whether the ink is bright.
    `['light', 'dark'].map((scheme) => [scheme, document.documentElement.outerHTML]).map(([scheme, markup]) => {
      const frame = document.createElement('iframe')
      frame.style = 'width: 360px; color-scheme: ' + scheme
      document.body.append(frame)
      frame.contentDocument.write('<!doctype html>' + markup)
      const { documentElement: page, body } = frame.contentDocument
      const ink = /\\d+/.exec(frame.contentWindow.getComputedStyle(body).color)[0]
      return { sticksOut: page.scrollWidth > frame.contentWindow.innerWidth, isInkBright: ink > 128 }
    })`,
  ])
})

test('a browser loads nothing beside the page and has nothing to complain of', async () => {
  assert.deepEqual(opened.requests, [])
  assert.deepEqual(opened.complaints, [])
  assert.ok((await stat(join(folder, 'report.html'))).size < 100_000)
})

test('what texts hold is shown, never run', () => {
  const [text, hacked, scripts] = opened.values
  assert.ok(String(text).includes('<script>window.hacked = 1</script><img src="https://outside.invalid/x"'))
  assert.ok(String(text).includes('<b>Short.</b>'))
  assert.deepEqual([hacked, scripts], [0, 0])
})

test('the funnel, the clusters with their differences and the approval stand in it, all of it readable', () => {
  const [text, , , funnels, added, approval, outside] = opened.values
  assert.deepEqual(funnels, ['all sources', 's0', 's1'])
  assert.ok(String(text).includes('5 texts: one kept, 0 near copies, 4 that read the same'))
  assert.deepEqual(added, ['changed', 'more'])
  assert.equal(
    approval,
    `kubectl --namespace default patch humanizerdataset prose --type merge --patch '{"spec":{"review":{"approvedDigest":"${result.digest}"}}}'`,
  )
  assert.deepEqual(outside, [])
  for (const title of ['Warnings', 'Lengths', 'Sources and licences', 'What copying the input would score', 'Rules'])
    assert.ok(String(text).includes(title), title)
  for (const words of ['not human-written: 1', 'too short: 1', 'exact duplicates: 4', 'near duplicates: 2'])
    assert.ok(String(text).includes(words), words)
})

test('it is read on a telephone, and in the dark', () => {
  assert.deepEqual(opened.values.at(-1), [
    { sticksOut: false, isInkBright: false },
    { sticksOut: false, isInkBright: true },
  ])
})

test('the figures agree with each other: lengths with counts, examples with rules, copying with the samples', () => {
  assert.equal(report.digest, result.digest)
  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0)
  for (const [i, { counts }] of report.sources.entries()) {
    assert.equal(sum(report.lengths[i]?.human ?? []), counts.read - counts.notHuman)
    assert.equal(sum(report.lengths[i]?.kept ?? []), keptOf(counts))
  }
  for (const rule of removals)
    assert.equal(
      report.examples.filter((example) => example.rule === rule).length,
      Math.min(report.counts[rule], 3),
      rule,
    )
  const [denoise, identity] = report.copyBaselines
  assert.deepEqual(
    report.copyBaselines.map(({ kind }) => kind),
    ['Denoise', 'Identity'],
  )
  assert.ok(denoise && identity && denoise.wordF1 < 0.95 && identity.wordF1 === 1)
})
