import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { SampleFormat, Split } from '#proto/humanizer/trainer/v1/preparation.ts'
import { JobFailure } from '../job/failure.ts'
import { type Manifest, readManifest, verifySealed } from '../storage/sealed.ts'

/** A row of train.parquet or validation.parquet. */
export interface Row {
  readonly id: string
  /** Near-duplicates share it; never in both parts of the split. */
  readonly cluster: string
  readonly kind: 'Identity' | 'Denoise' | 'Paired'
  readonly input: string
  readonly target: string
}

export type Part = 'train' | 'validation'

/** A sealed dataset folder whose bytes were checked. */
export interface Dataset {
  readonly directory: string
  readonly digest: string
  readonly format: SampleFormat
  /** 100: the user wants no validation. */
  readonly trainPercent: number
}

/** Opens datasets/<hex>; every sum is checked, so that a run never trains on other bytes than its digest says. */
export async function openDataset(directory: string, digest: string): Promise<Dataset> {
  const sealed: Manifest | undefined = await readManifest(directory)
  if (sealed === undefined)
    throw new JobFailure(
      'NotFound',
      `dataset ${digest} is not at ${directory}: no sealed folder; expected a manifest.json`,
    )
  if (sealed.digest !== digest)
    throw new JobFailure('SourceInvalid', `${directory} holds dataset ${sealed.digest}; expected ${digest}`)
  await verifySealed(directory)
  const description = JSON.parse(await readFile(join(directory, 'dataset.json'), 'utf8')) as Record<string, unknown>
  const format = SampleFormat.fromJSON(description['format'] ?? {})
  const { trainPercent } = Split.fromJSON(description['split'] ?? {})
  if (!format.userTemplate.includes('{text}'))
    throw new JobFailure(
      'SourceInvalid',
      `${directory}/dataset.json: format.userTemplate is "${format.userTemplate}"; expected it to contain {text}`,
    )
  return { directory, digest, format, trainPercent }
}

/** The rows of one part, in the file's order, in chunks of DuckDB's size. */
export async function* readRows({ directory }: Dataset, part: Part): AsyncGenerator<Row> {
  const path = join(directory, `${part}.parquet`)
  for await (const row of readParquet(path, 'id, cluster, kind, input, target')) yield checkedRow(row, path)
}

/** A text that a machine wrote, kept to evaluate on: nobody trains on it. */
export interface MachineText {
  readonly id: string
  readonly text: string
}

/** The machine-written texts that the dataset keeps, in the file's order; none when it keeps no such file. */
export async function* readMachineTexts({ directory }: Dataset): AsyncGenerator<MachineText> {
  const path = join(directory, 'ai_inputs.parquet')
  if (!existsSync(path)) return
  for await (const { id, text } of readParquet(path, 'id, text')) {
    if (typeof id !== 'string' || typeof text !== 'string')
      throw new JobFailure('SourceInvalid', `${path}: row ${id}: text is ${text}; expected text`)
    yield { id, text }
  }
}

async function* readParquet(path: string, columns: string): AsyncGenerator<Record<string, unknown>> {
  const instance = await DuckDBInstance.create(':memory:', { threads: '1', temp_directory: tmpdir() })
  const connection = await instance.connect()
  try {
    const result = await connection.stream(`SELECT ${columns} FROM read_parquet('${path.replaceAll("'", "''")}')`)
    for await (const rows of result.yieldRowObjectJs()) yield* rows
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}

function checkedRow(row: Record<string, unknown>, path: string): Row {
  for (const column of ['id', 'cluster', 'input', 'target'])
    if (typeof row[column] !== 'string')
      throw new JobFailure('SourceInvalid', `${path}: row ${row.id}: ${column} is ${row[column]}; expected text`)
  if (row.kind !== 'Identity' && row.kind !== 'Denoise' && row.kind !== 'Paired')
    throw new JobFailure(
      'SourceInvalid',
      `${path}: row ${row.id}: kind is "${row.kind}"; expected Identity, Denoise or Paired`,
    )
  return row as unknown as Row
}
