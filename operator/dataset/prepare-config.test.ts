import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dataset } from '../run/world.ts'
import { prepareConfig, type SpecSource } from './prepare-config.ts'

const sourcesOf = (sources: SpecSource[]) => {
  const sample = dataset()
  const reclaim = { kind: 'HumanizerDataset', policy: 'Retain', createdTime: '', sweep: undefined }
  return prepareConfig({ ...sample, spec: { ...sample.spec, sources } }, 1, 'key', reclaim).sources
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
