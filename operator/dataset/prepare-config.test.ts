import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PrepareConfig } from '#proto/humanizer/trainer/v1/preparation.ts'
import { dataset } from '../run/world.ts'
import { prepareConfig, type SpecSource, specHash } from './prepare-config.ts'
import { prepareChildren } from './prepare-job.ts'

/** As the pod reads them. */
const sourcesOf = (sources: SpecSource[]) => {
  const sample = dataset()
  const reclaim = { kind: 'HumanizerDataset', policy: 'Retain', createdTime: '', sweep: undefined }
  const config = prepareConfig({ ...sample, spec: { ...sample.spec, sources } }, 1, 'key', reclaim)
  return PrepareConfig.fromJSON(JSON.parse(JSON.stringify(PrepareConfig.toJSON(config)))).sources
}

test('a source of files is told where it is mounted, so that no link leads the preparation out of there', () => {
  const [volume, configMap, http] = sourcesOf([
    { name: 'shelf', volume: { claimName: 'shelf', path: 'books/a.txt' } },
    { name: 'note', configMap: { name: 'note', key: 'a.txt' } },
    { name: 'far', http: { url: 'https://example.org/a.txt', sha256: '0'.repeat(64) } },
  ])
  assert.deepEqual([volume?.filePath, volume?.mountPath], ['/sources/shelf/books/a.txt', '/sources/shelf'])
  assert.deepEqual([configMap?.filePath, configMap?.mountPath], ['/sources/note/a.txt', '/sources/note'])
  assert.deepEqual([http?.filePath, http?.mountPath], [undefined, ''])
})

test('a column that is left out of a spec is the known one, and one set to nothing is none', () => {
  const huggingFace = { repo: 'a/b', revision: 'main' }
  const columns = { inputColumn: '', groupColumn: '' }
  const [known, none] = sourcesOf([
    { name: 'a', huggingFace },
    { name: 'b', huggingFace, ...columns },
  ])
  assert.deepEqual([known?.inputColumn, known?.groupColumn], [undefined, undefined])
  assert.deepEqual([none?.inputColumn, none?.groupColumn], ['', ''])
})

test('an evaluation set is mounted and configured as a source is, and is part of what decides the rows', () => {
  const sample = dataset()
  const set: SpecSource = { name: 'set', volume: { claimName: 'sets', path: 'a.jsonl' } }
  const spec = { ...sample.spec, decontamination: { sources: [set], ngramWords: 13 } }
  const settings = { trainerImage: 'i', trainerImagePullPolicy: 'Always', publicKeyPem: 'key' }
  const reclaim = { kind: 'HumanizerDataset', policy: 'Retain', createdTime: '', sweep: undefined }
  const claim = { name: 'humanizer', singleNode: false }
  const children = JSON.stringify(prepareChildren({ ...sample, spec }, 1, claim, settings, reclaim))
  assert.match(children, /"mountPath":"\/sources\/set"/)
  assert.match(children, /"claimName":"sets"/)
  const config = prepareConfig({ ...sample, spec }, 1, 'key', reclaim)
  assert.equal(config.decontamination?.sources[0]?.filePath, '/sources/set/a.jsonl')
  const hashes = [sample.spec, spec, { ...spec, decontamination: { sources: [set], ngramWords: 12 } }].map(specHash)
  assert.equal(new Set(hashes).size, 3)
  const token = { name: 'hub', key: 'token' }
  const hub = (fields: object): SpecSource => ({
    name: 'set',
    huggingFace: { repo: 'a/b', revision: 'main', ...fields },
  })
  const [open, secret] = [hub({}), hub({ tokenSecretRef: token })].map((of) =>
    specHash({ ...sample.spec, decontamination: { sources: [of], ngramWords: 13 } }),
  )
  assert.equal(open, secret)
})
