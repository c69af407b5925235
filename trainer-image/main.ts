import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { pino } from 'pino'
import { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'
import { commands, type Outcome } from './job/commands.ts'
import type { JobContext } from './job/context.ts'
import { exitCodes, failureOf, JobFailure, type Reason } from './job/failure.ts'
import { writeTerminationMessage } from './job/result.ts'
import { type ToolOptions, tools } from './job/tools.ts'

/*
 * Composition root of the trainer image: one command per process, one JSON file as its configuration, one typed
 * result as its end. The only reader of the environment.
 */

const usage = `usage: main.ts <prepare|fetch|train|merge|upload|serve> [--config FILE] [--data DIR] [--termination-log FILE] [--state DIR] [--desired FILE] [--host ADDRESS]
       main.ts gguf [--base DIR|FILE --adapter DIR] [--output FILE]
       main.ts gguf --model DIR [--q8] [--output FILE]
       main.ts push --to HOST/REPOSITORY [--folder DIR] [--auth DOCKERCONFIGJSON] [--plain-http]
       main.ts track --folder DIR --auth KEYFILE`

async function readConfiguration(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error)
    throw new JobFailure('ConfigurationInvalid', `--config ${path}: ${problem}; expected a JSON file`, { cause: error })
  }
}

function identityOf(configuration: unknown): { ownerUid: string; attempt: number } {
  const fields = configuration as { owner?: { uid?: unknown }; attempt?: unknown } | null
  const uid = fields?.owner?.uid
  return { ownerUid: typeof uid === 'string' ? uid : '', attempt: Number(fields?.attempt ?? 0) || 0 }
}

async function runTool(tool: (options: ToolOptions) => Promise<void>, options: ToolOptions): Promise<number> {
  try {
    await tool(options)
    return exitCodes.Completed
  } catch (error) {
    const { reason, message } = failureOf(error)
    process.stderr.write(`${reason}: ${message}\n`)
    return exitCodes[reason]
  }
}

async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      config: { type: 'string', default: '/etc/humanizer/config.json' },
      data: { type: 'string', default: '/data' },
      'termination-log': { type: 'string', default: '/dev/termination-log' },
      state: { type: 'string', default: '/tmp/state' },
      desired: { type: 'string', default: '/etc/humanizer-desired/desired.json' },
      host: { type: 'string' },
      base: { type: 'string' },
      adapter: { type: 'string' },
      model: { type: 'string' },
      q8: { type: 'boolean' },
      output: { type: 'string' },
      folder: { type: 'string' },
      to: { type: 'string' },
      auth: { type: 'string' },
      'plain-http': { type: 'boolean' },
    },
  })
  const name = positionals[0] ?? ''
  const tool = Object.hasOwn(tools, name) ? tools[name] : undefined
  if (tool && positionals.length === 1) return runTool(tool, values)
  const command = Object.hasOwn(commands, name) ? commands[name as keyof typeof commands] : undefined
  if (command === undefined || positionals.length !== 1) {
    process.stderr.write(`${usage}\n`)
    return exitCodes.ConfigurationInvalid
  }

  const stop = new AbortController()
  process.once('SIGTERM', () => stop.abort(new JobFailure('Stopped', 'SIGTERM')))
  process.once('SIGINT', () => stop.abort(new JobFailure('Stopped', 'SIGINT')))

  // Threads of the engine that spin at barriers take the CPU from each other on a busy node: a token then takes a second
  // instead of 50 ms. OpenMP reads this when the engine is loaded.
  if (name === 'serve') process.env.OMP_WAIT_POLICY ??= 'passive'

  const log = pino({ base: { command: name }, level: process.env.LOG_LEVEL ?? 'info' })
  const context: JobContext = {
    dataDir: values.data,
    signal: stop.signal,
    log,
    podUid: process.env.POD_UID ?? 'local',
    podName: process.env.POD_NAME ?? 'local',
    terminationLog: values['termination-log'],
    stateDir: values.state,
    desiredFile: values.desired,
    host: values.host,
    hubEndpoint: (process.env.HF_ENDPOINT ?? 'https://huggingface.co').replace(/\/+$/, ''),
  }

  let identity = { ownerUid: '', attempt: 0 }
  let reason: Reason = 'Completed'
  let message = ''
  let outcome: Outcome = {}
  try {
    const configuration = await readConfiguration(values.config)
    identity = identityOf(configuration)
    outcome = await command(configuration, context)
  } catch (error) {
    const failure = failureOf(error)
    reason = failure.reason
    message = failure.message
    outcome = failure.partial
    if (reason === 'Internal') log.error({ err: error }, 'a bug ended this job')
    else log.error({ reason }, message)
  }
  const result = JobResult.fromPartial({ ...identity, reason, message, ...outcome })
  await writeTerminationMessage(context.terminationLog, result).catch((error) =>
    log.error({ err: error }, `cannot write ${context.terminationLog}`),
  )
  log.info({ reason, exitCode: exitCodes[reason] }, 'done')
  return exitCodes[reason]
}

// An exit, not a return: idle sockets and native threads must not keep a finished pod alive.
process.exit(await main())
