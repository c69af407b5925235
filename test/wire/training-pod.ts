/** A training pod without Kubernetes: its own process, its own claim, and a port for the operator's calls. */
import type { ChildProcess } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'
import { type RunReport, TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import { sumModel } from '../../trainer-image/model/identity.ts'
import { openModel } from '../../trainer-image/model/open.ts'
import { hexOf } from '../../trainer-image/storage/digest.ts'
import { spawnTied } from '../child.ts'
import { type DatasetOptions, writeDataset } from '../fixtures/dataset.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const uid = '3e1f0c2a-7d0b-4a51-9a55-0d6a1c2b3e4f'

export interface Claim {
  readonly dataDir: string
  readonly config: TrainConfig
  readonly runDirectory: string
  remove(): void
}

/** Each claim has the tiny base, a sealed dataset and nothing else. */
export async function makeClaim(
  change: (config: TrainConfig) => TrainConfig = (config) => config,
  { dataset, dataDir = mkdtempSync(join(tmpdir(), 'train-')) }: { dataset?: DatasetOptions; dataDir?: string } = {},
): Promise<Claim> {
  cpSync(join(root, 'test/fixtures/tiny-llama'), join(dataDir, 'models/tiny'), { recursive: true })
  const base = await sumModel(await openModel(join(dataDir, 'models/tiny')))
  const datasetDigest = await writeDataset(dataDir, dataset)
  const config = change(
    TrainConfig.fromPartial({
      owner: { namespace: 'writers', name: 'first', uid },
      attempt: 1,
      model: { path: 'models/tiny', digest: base.digest, name: 'tiny-llama' },
      datasetDigest,
      datasetPath: `datasets/${hexOf(datasetDigest)}`,
      quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true, computeDtype: 'Auto' },
      lora: { rank: 8, alpha: 16, dropout: 0.1 },
      training: {
        maxSteps: 24,
        epochs: 1,
        learningRate: 5e-3,
        learningRateSchedule: 'Cosine',
        warmupRatio: 0.1,
        microBatchSize: 2,
        gradientAccumulation: 2,
        maxSequenceLength: 256,
        packing: true,
        optimizer: 'AdamW',
        weightDecay: 0.01,
        maxGradientNorm: 1,
        seed: 42,
      },
      evaluation: { everySteps: 8, maxExamples: 8, maxTokens: 400, samples: 0 },
      checkpoints: { everySteps: 5, keep: 2 },
      earlyStopping: { patience: 0 },
      logging: { everySteps: 2, tensorBoard: true },
      backend: 'CPU',
    }),
  )
  return {
    dataDir,
    config,
    runDirectory: join(dataDir, 'runs/writers/first', uid),
    remove: () => rmSync(dataDir, { recursive: true, force: true }),
  }
}

export interface Ended {
  /** Exit code, or the signal that ended the process. */
  readonly code: number | NodeJS.Signals
  /** Undefined when the process left no termination message. */
  readonly result: JobResult | undefined
  readonly output: string
}

export interface Pod {
  readonly process: ChildProcess
  readonly ended: Promise<Ended>
}

/** Starts `main.ts train`; `podUid` is the audience of every call. */
export function startPod(claim: Claim, config: TrainConfig, podUid: string): Pod {
  const work = mkdtempSync(join(tmpdir(), 'pod-'))
  const termination = join(work, 'termination-log')
  writeFileSync(join(work, 'config.json'), JSON.stringify(TrainConfig.toJSON(config)))
  const flags = ['--config', join(work, 'config.json'), '--data', claim.dataDir, '--termination-log', termination]
  const child = spawnTied(process.execPath, [join(root, 'trainer-image/main.ts'), 'train', ...flags], {
    env: { PATH: dirname(process.execPath), POD_UID: podUid, POD_NAME: podUid, ...ofTheTests(process.env) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk: Buffer) => (output += chunk))
  const ended = new Promise<Ended>((resolve) =>
    child.once('close', (code, signal) => {
      let result: JobResult | undefined
      try {
        const text = readFileSync(termination, 'utf8')
        if (Buffer.byteLength(text) <= 4096) result = JobResult.fromJSON(JSON.parse(text))
      } catch {} // a killed process leaves none
      rmSync(work, { recursive: true, force: true })
      resolve({ code: code ?? signal!, result, output })
    }),
  )
  return { process: child, ended }
}

/** What a pod takes from the environment of the tests: which engine runs on what, and what run.ts sets for all of their processes. */
const ofTheTests = (given: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(
    [
      'HUMANIZER_NATIVE',
      'HUMANIZER_ISA',
      'ONEDNN_MAX_CPU_ISA',
      'EMULATED_CUDA',
      'NODE_COMPILE_CACHE',
      'GOMP_SPINCOUNT',
    ].flatMap((name) => (given[name] === undefined ? [] : [[name, given[name]]])),
  )

/** Runs a pod to its end and answers with its report; anything but exit 0 throws with the pod's output. */
export async function runToEnd(claim: Claim, config: TrainConfig, podUid: string): Promise<RunReport> {
  const { code, result, output } = await startPod(claim, config, podUid).ended
  if (code !== 0 || result?.run === undefined) throw new Error(`exit ${code}\n${output}`)
  return result.run
}

/** Resolves when the pod has logged this step or a later one. */
export const reaches = (pod: Pod, step: number): Promise<void> =>
  logs(pod, `step ${step}`, (seen) =>
    Array.from(seen.matchAll(/"step":(\d+),"totalSteps"/g), ([, digits]) => Number(digits)).some(
      (logged) => logged >= step,
    ),
  )

/** Resolves when what the pod has logged satisfies `holds`. */
export function logs(pod: Pod, what: string, holds: (seen: string) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let seen = ''
    pod.process.stdout?.on('data', (chunk) => {
      seen += chunk
      if (holds(seen)) resolve()
    })
    pod.ended.then(({ code, output }) => reject(new Error(`ended with ${code} before ${what}\n${output}`)))
  })
}

/** Steps of the checkpoints that are there under their final names. */
export const stepsOf = (claim: Claim): number[] =>
  readdirSync(claim.runDirectory).flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.slice(1).map(Number) ?? [])
