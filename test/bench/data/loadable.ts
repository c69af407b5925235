/** Whether `datasets` loads what we prepare, by the folder's card alone and with the rows that DuckDB reads. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { columns } from '../../../trainer-image/dataset/output.ts'
import { prepare } from '../../../trainer-image/dataset/prepare.ts'
import { configOf, contextOf, rowsOf } from '../../../trainer-image/dataset/preparing.ts'
import { labelledCsv } from '../../fixtures/sources.ts'
import { python } from '../python.ts'

/** Throws when it does not. `folder` is for the dataset. */
export async function requireLoadable(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const filePath = join(folder, 'labelled.csv')
  writeFileSync(filePath, labelledCsv(0, 200))
  const keep = { policy: 'Matching', column: 'label', values: ['human'] }
  const { location } = await prepare(configOf([{ filePath, keep }]), contextOf(folder))
  // What a run leaves beside the rows is no split.
  const shards = join(folder, location, 'tokenized', 'x')
  mkdirSync(shards, { recursive: true })
  writeFileSync(join(shards, 'train.parquet'), 'none')
  const script = join(import.meta.dirname, '../peer/load_dataset.py')
  const printed = execFileSync(python('requirements-data.txt'), [script, join(folder, location)], { encoding: 'utf8' })
  const described = async (side: string, names: readonly string[]) => {
    const rows = await rowsOf(folder, location, side)
    const texts = rows.map((row) => row[names.at(-1) as string]).join('\n')
    return {
      rows: rows.length,
      columns: Object.fromEntries(names.map((name) => [name, 'string'])),
      sum: createHash('sha256').update(texts).digest('hex'),
    }
  }
  const expected = {
    default: { train: await described('train', columns), validation: await described('validation', columns) },
    ai_inputs: { test: await described('ai_inputs', ['id', 'source', 'text']) },
  }
  assert.deepEqual(JSON.parse(printed), expected, 'datasets.load_dataset of a prepared folder')
  const { train, validation } = expected.default
  console.log(
    `  datasets loads a prepared folder by its card: ${train.rows} + ${validation.rows} rows, ai_inputs ${expected.ai_inputs.test.rows}`,
  )
}
