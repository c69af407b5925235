import type { ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import type { JobContext } from '../job/context.ts'
import { JobFailure } from '../job/failure.ts'
import { modelPath } from '../model/fetch.ts'
import { requireModel } from '../model/identity.ts'
import { type OpenedModel, openModel } from '../model/open.ts'
import { writeRemembered } from '../serve/desired.ts'
import { Health } from '../serve/health.ts'
import { createMetrics } from '../serve/metrics.ts'
import { modelNameOf, serving } from '../serve/process.ts'
import { Release } from '../serve/release.ts'
import { ownerRecord } from '../storage/owners.ts'
import { loadInto, proveToken, type VllmAdapter } from './adapter.ts'
import { VllmClient } from './client.ts'
import { createVllmEndpoint } from './endpoint.ts'
import { Keeper } from './keeper.ts'

/**
 * Serves one release by way of the vLLM in this pod until the signal aborts: the same calls, files and rules as `serve` itself, since it is
 * the same Release; only loading and computing are vLLM's.
 */
export async function serveVllm(config: ServeConfig, context: JobContext): Promise<void> {
  const { log, signal, dataDir, stateDir } = context
  const { vllm, model } = config
  if (!vllm?.url || !vllm.baseName || vllm.maxLoraRank < 1)
    throw new JobFailure('ConfigurationInvalid', 'vllm lacks url, base_name or max_lora_rank')
  if (!model?.path)
    throw new JobFailure('ConfigurationInvalid', 'model.path is absent, expected the folder of the base')
  const client = new VllmClient(vllm.url)
  const keeper = new Keeper(client, () => release, log)
  const health = new Health()
  const metrics = createMetrics({ load: () => ({ running: 0, waiting: 0 }), state: () => release.state() })
  const owner = ownerRecord(config.owner, config.reclaim)
  let opened: Promise<OpenedModel> | undefined
  /** vLLM reads the same files; these must be the base's. Again after a failure: a volume may come back. */
  const base = (): Promise<OpenedModel> => {
    opened ??= provenBase(modelPath(dataDir, model.path), model.digest).catch((error) => {
      opened = undefined
      throw error
    })
    return opened
  }
  let template: Awaited<ReturnType<typeof base>> | undefined
  const release = new Release<VllmAdapter>(context.podUid, {
    log,
    health: (digest) => health.of(digest),
    totals: () => health.totals,
    now: () => new Date(),
    remember: (state) => writeRemembered(stateDir, state),
    switched(seconds, ok) {
      metrics.switches.observe({ outcome: ok ? 'ok' : 'failed' }, seconds)
    },
    async load(desired) {
      template = await base()
      if (desired.digest !== '')
        return loadInto({ dataDir, client, vllm, baseDigest: model.digest, owner, log }, desired)
      await proveToken(client, vllm.baseName)
      return { adapter: undefined }
    },
  })
  const endpoint = createVllmEndpoint(
    {
      client,
      release,
      modelName: modelNameOf(config),
      vllmBase: vllm.baseName,
      prompt(messages, { chatTemplate }, dateString) {
        const { templateOf, chatTemplate: own } = template!
        const written = chatTemplate ? templateOf('the adapter', chatTemplate) : own
        return written.render(messages, { addGenerationPrompt: true, dateString })
      },
      keeper,
      metrics,
      health,
    },
    signal,
    log,
  )
  const watching = keeper.watch(signal)
  await serving(config, context, release, endpoint)
  await watching
}

async function provenBase(path: string, digest: string): Promise<OpenedModel> {
  const opened = await openModel(path)
  await requireModel(opened, digest, path)
  return opened
}
