import assert from 'node:assert/strict'
import { test } from 'node:test'
import { htmlOf, type RunFacts } from './report.ts'

const facts: RunFacts = {
  title: 'Run <a>',
  about: { objective: '"x" & y' },
  diagnosis: { verdict: 'Healthy', findings: [{ verdict: 'Healthy', evidence: 'loss < 2' }], advice: [] },
  baseline: undefined,
  bestStep: 20,
  history: [
    { step: 10, loss: 2 },
    { step: 20, eval_loss: 1.8 },
  ],
  rows: [
    { name: 'base', metrics: [{ name: 'copyRate', value: 0.25, low: 0, high: 0.5 }] },
    { name: 'human text', metrics: [] },
  ],
  samples: [{ id: 's', input: 'boat <b> out', human: 'The boat', base: 'boat went out', best: undefined }],
  checklist: [{ item: 'Objective', done: true, evidence: 'x' }],
  warnings: [],
}

test('what a model or a user wrote is text in the page, never markup', () => {
  const page = htmlOf(facts)
  assert.ok(page.includes('Run &lt;a&gt;') && page.includes('&quot;x&quot; &amp; y'))
  assert.ok(page.includes('boat <del>&lt;b&gt; </del><ins>went </ins>out'))
  assert.doesNotMatch(page, /<b>|<a>/)
})

test('a metric stands with its interval, and as a dash where it was not measured', () => {
  assert.match(htmlOf(facts), /<td>0\.25<small>0 to 0\.5<\/small><\/td><td>–<\/td>/)
})

test('only the first forty samples are shown, with a word on the rest', () => {
  const samples = Array.from({ length: 60 }, (_, i) => ({ ...facts.samples[0]!, id: `s${i}` }))
  const page = htmlOf({ ...facts, samples })
  assert.ok(page.includes('s39<') && !page.includes('s40<'))
  assert.match(page, /first 40 of 60/)
})

test('a run without evaluation says so instead of drawing nothing', () => {
  const page = htmlOf({ ...facts, history: [], samples: [], rows: [] })
  assert.match(page, /No loss was recorded.*No outputs were measured.*No samples were written/s)
})
