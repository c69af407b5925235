import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Tracking, WeightsAndBiases } from '#proto/humanizer/trainer/v1/run.ts'
import { HistorySpool } from './history-spool.ts'
import type { ScalarLog } from './tensorboard.ts'
import {
  Refused,
  type RunVariables,
  type StreamBody,
  streamRun,
  Unreachable,
  uploadFile,
  upsertRun,
  type WandbRun,
  type WandbServer,
} from './wandb-api.ts'
import { forgetPending, keepPending } from './wandb-pending.ts'

/** A run that a tracking server is told of. Nothing here throws, and only `finish` waits for the server, for a bounded time. */
export interface Tracker extends ScalarLog {
  /** What was written so far outlives the process. */
  flush(): Promise<void>
  /** The run has ended well: what is left is sent, with its result and files. */
  finish(result: TrackedResult): Promise<void>
  /** The attempt ends before the run does: the next one sends what is left. */
  stop(): Promise<void>
}

export interface TrackedResult {
  readonly summary: Readonly<Record<string, string | number>>
  readonly table: { readonly columns: readonly string[]; readonly data: readonly (readonly (string | null)[])[] }
  /** Paths of files by the names that they get. */
  readonly files: Readonly<Record<string, string>>
}

export const noTracker: Tracker = {
  write: async () => {},
  flush: async () => {},
  finish: async () => {},
  stop: async () => {},
}

export interface TrackerOptions {
  readonly settings: WeightsAndBiases
  /** In place of the one in settings.keyFile. */
  readonly key?: string
  readonly run: Omit<RunVariables, 'project' | 'entity'>
  /** Folder of the spool. */
  readonly directory: string
  readonly log: Logger
  /** Told to the operator whenever it changes. */
  readonly report: (tracking: Tracking) => void
  readonly pace?: Partial<Pace>
}

export interface Pace {
  /** Between two requests while all is well; the first wait after a failure, doubled each time. */
  readonly everyMilliseconds: number
  readonly longestWaitMilliseconds: number
  readonly requestMilliseconds: number
  /** All that a finished run waits for the server. */
  readonly finishMilliseconds: number
  /** Failures in a row that are worth telling. */
  readonly failuresTold: number
}

const usualPace: Pace = {
  everyMilliseconds: 10_000,
  longestWaitMilliseconds: 300_000,
  requestMilliseconds: 20_000,
  finishMilliseconds: 10_000,
  failuresTold: 3,
}

const ROWS_OF_A_REQUEST = 500
/** A server takes a run that is silent for minutes for a crashed one. */
const HEARTBEAT_MILLISECONDS = 60_000
const PROBLEM_CHARACTERS = 200

/** Begins to tell; what cannot be opened is a problem that is reported, and no tracker. */
export async function openTracker(options: TrackerOptions): Promise<Tracker> {
  try {
    const spool = await HistorySpool.open(join(options.directory, 'history.jsonl'))
    return new WandbTracker(options, spool)
  } catch (error) {
    options.log.warn({ err: error }, 'Weights & Biases: the spool cannot be opened')
    options.report({
      url: '',
      problem: `the spool cannot be opened: ${(error as Error).message}`.slice(0, PROBLEM_CHARACTERS),
    })
    return noTracker
  }
}

class WandbTracker implements Tracker {
  readonly #options: TrackerOptions
  readonly #pace: Pace
  readonly #spool: HistorySpool
  readonly #ended = new AbortController()
  readonly #began = Date.now()
  readonly #sending: Promise<void>
  readonly #latest: Record<string, string | number> = {}
  #run: WandbRun | undefined
  /** Lines of the spool that the server has, and lines that it has besides. */
  #sent = 0
  #foreign = 0
  #spokenAt = 0
  #failures = 0
  #tracking: Tracking = { url: '', problem: '' }
  #refused = false

  constructor(options: TrackerOptions, spool: HistorySpool) {
    this.#options = options
    this.#spool = spool
    this.#pace = { ...usualPace, ...options.pace }
    this.#sending = options.settings.mode === 'Offline' ? Promise.resolve() : this.#sendUntilEnded()
  }

  async write(step: number, scalars: Readonly<Record<string, number | undefined>>): Promise<void> {
    const known = Object.entries(scalars).filter((entry): entry is [string, number] => Number.isFinite(entry[1]))
    if (known.length === 0) return
    const now = Date.now()
    const fields = { ...Object.fromEntries(known), _timestamp: now / 1000, _runtime: (now - this.#began) / 1000 }
    Object.assign(this.#latest, fields, { _step: step })
    await this.#spool.add(step, fields).catch((error) => this.#tell(`the spool cannot be written: ${error.message}`))
  }

  async flush(): Promise<void> {
    await this.#spool.flush().catch((error) => this.#tell(`the spool cannot be written: ${error.message}`))
  }

  async stop(): Promise<void> {
    await this.flush()
    this.#ended.abort()
    await this.#sending
  }

  async finish(result: TrackedResult): Promise<void> {
    await this.stop()
    const { settings, directory } = this.#options
    const end = { ...result, summary: { ...this.#latest, ...result.summary } }
    await keepPending(this.#options, end).catch((error) => this.#tell(`the spool cannot be written: ${error.message}`))
    if (settings.mode === 'Offline' || this.#refused) return
    const { finishMilliseconds, failuresTold } = this.#pace
    // Nobody waits long for a server that has not answered all the while.
    const until = performance.now() + (this.#failures < failuresTold ? finishMilliseconds : finishMilliseconds / 5)
    const { table, files } = end
    const uploads = settings.samples ? await readable(files) : new Map<string, Buffer<ArrayBuffer>>()
    const shown = settings.samples ? tableFile(table) : undefined
    if (shown) uploads.set(shown.path, shown.bytes)
    const summary = { ...end.summary, ...(shown && { samples: shown.reference }) }
    for (let wait = 250; ; wait *= 2) {
      const left = Math.max(1, Math.ceil(until - performance.now()))
      try {
        const server = await this.#server(AbortSignal.timeout(left))
        await this.#sendRows(server)
        for (const [name, bytes] of uploads) {
          await uploadFile(server, this.#run!, name, bytes)
          await streamRun(server, this.#run!, { uploaded: [name] })
          uploads.delete(name)
        }
        await streamRun(server, this.#run!, { ...summaryOf(summary), complete: true, exitcode: 0 })
        await forgetPending(directory).catch(() => undefined)
        return this.#tell('')
      } catch (error) {
        const rest = this.#spool.lines.length - this.#sent
        this.#tell(`${(error as Error).message}; ${rest} rows and ${uploads.size} files were not sent`)
        if (!(error instanceof Unreachable) || performance.now() >= until) return
        await sleep(Math.min(Math.max(wait, error.afterMilliseconds), Math.max(0, until - performance.now())))
      }
    }
  }

  async #sendUntilEnded(): Promise<void> {
    const { signal } = this.#ended
    while (!signal.aborted) {
      let wait = this.#pace.everyMilliseconds
      try {
        await this.#sendRows(await this.#server(signal))
        this.#failures = 0
        this.#tell('')
      } catch (error) {
        if (signal.aborted) return
        this.#failures += 1
        const { message } = error as Error
        this.#refused = error instanceof Refused
        if (this.#refused) return this.#tell(message)
        if (this.#failures >= this.#pace.failuresTold) this.#tell(message)
        const asked = error instanceof Unreachable ? error.afterMilliseconds : 0
        wait = Math.min(this.#pace.longestWaitMilliseconds, wait * 2 ** Math.min(this.#failures, 20))
        wait = Math.max(asked, wait * (0.5 + Math.random() / 2))
      }
      await sleep(wait, undefined, { signal, ref: false }).catch(() => {})
    }
  }

  /** The run is made with the first request. The Secret may come while the run trains, so the key is read until it is there. */
  async #server(signal: AbortSignal): Promise<WandbServer> {
    const { settings, run } = this.#options
    const key = this.#options.key ?? (await readFile(settings.keyFile, 'utf8').catch(() => '')).trim()
    if (key === '')
      throw new Unreachable('there is no key: the Secret of logging.weightsAndBiases.secretRef is missing or empty')
    const server = {
      baseUrl: settings.baseUrl.replace(/\/+$/, ''),
      key,
      timeoutMilliseconds: this.#pace.requestMilliseconds,
      signal,
    }
    if (this.#run !== undefined) return server
    this.#run = await upsertRun(server, { ...run, project: settings.project, entity: settings.entity || undefined })
    // What attempts before sent: each line of the spool is a line of the server's history.
    this.#sent = Math.min(this.#run.historyLines, this.#spool.lines.length)
    this.#foreign = this.#run.historyLines - this.#sent
    return server
  }

  async #sendRows(server: WandbServer): Promise<void> {
    const { lines } = this.#spool
    const isSilent = Date.now() - this.#spokenAt >= HEARTBEAT_MILLISECONDS
    if (this.#sent === lines.length && isSilent) await this.#stream(server, {})
    while (this.#sent < lines.length) {
      const content = lines.slice(this.#sent, this.#sent + ROWS_OF_A_REQUEST)
      const history = { offset: this.#foreign + this.#sent, content }
      const { files } = summaryOf(this.#latest)
      await this.#stream(server, { files: { 'wandb-history.jsonl': history, ...files } })
      this.#sent += content.length
    }
  }

  async #stream(server: WandbServer, body: StreamBody): Promise<void> {
    await streamRun(server, this.#run!, body)
    this.#spokenAt = Date.now()
  }

  #tell(problem: string): void {
    const { settings, log, report } = this.#options
    const url = this.#run ? pageOf(settings.baseUrl, this.#run) : ''
    const tracking = { url, problem: problem.slice(0, PROBLEM_CHARACTERS) }
    if (tracking.url === this.#tracking.url && tracking.problem === this.#tracking.problem) return
    this.#tracking = tracking
    if (problem === '') log.info({ url }, 'Weights & Biases')
    else log.warn({ problem: tracking.problem }, 'Weights & Biases')
    report(tracking)
  }
}

const summaryOf = (summary: object): Pick<StreamBody, 'files'> => ({
  files: { 'wandb-summary.json': { offset: 0, content: [JSON.stringify(summary)] } },
})

/** Of the hosted service people read at another host than programs do. */
const pageOf = (baseUrl: string, { entity, project, name }: WandbRun): string => {
  const url = new URL(baseUrl)
  if (url.host === 'api.wandb.ai') url.host = 'wandb.ai'
  return `${url.origin}/${[entity, project, 'runs', name].map(encodeURIComponent).join('/')}`
}

/** A table as the SDK uploads it, and how a summary refers to it. */
function tableFile(table: TrackedResult['table']) {
  const bytes = Buffer.from(JSON.stringify(table))
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const path = `media/table/samples_${sha256.slice(0, 20)}.table.json`
  const [ncols, nrows] = [table.columns.length, table.data.length]
  return { path, bytes, reference: { _type: 'table-file', path, sha256, size: bytes.length, ncols, nrows } }
}

async function readable(files: TrackedResult['files']): Promise<Map<string, Buffer<ArrayBuffer>>> {
  const found = new Map<string, Buffer<ArrayBuffer>>()
  for (const [name, path] of Object.entries(files)) {
    const bytes = await readFile(path).catch(() => undefined)
    if (bytes) found.set(name, bytes)
  }
  return found
}
