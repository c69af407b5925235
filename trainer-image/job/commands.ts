import { MergeConfig } from '#proto/humanizer/trainer/v1/merge.ts'
import { FetchConfig } from '#proto/humanizer/trainer/v1/model.ts'
import { PrepareConfig } from '#proto/humanizer/trainer/v1/preparation.ts'
import { PushConfig } from '#proto/humanizer/trainer/v1/push.ts'
import { TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import { ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import { sweepFor } from '../storage/sweep.ts'
import type { JobContext } from './context.ts'
import { JobFailure, type PartialResult } from './failure.ts'

export type Outcome = PartialResult

type Command = (configuration: unknown, context: JobContext) => Promise<Outcome>

function parse<T>(type: { fromJSON(object: unknown): T }, configuration: unknown): T {
  if (typeof configuration !== 'object' || configuration === null || Array.isArray(configuration))
    throw new JobFailure('ConfigurationInvalid', 'the configuration is not a JSON object')
  return type.fromJSON(configuration)
}

/** The commands of the image. Each loads only its own half: `prepare` never maps the model code, `serve` never DuckDB. */
export const commands = {
  prepare: async (configuration, context) => {
    const { prepare } = await import('../dataset/prepare.ts')
    const config = parse(PrepareConfig, configuration)
    await sweepFor(config, context)
    return { preparation: await prepare(config, context) }
  },
  fetch: async (configuration, context) => {
    const { fetchModel } = await import('../model/fetch.ts')
    const config = parse(FetchConfig, configuration)
    await sweepFor(config, context)
    return { fetch: await fetchModel(config, context) }
  },
  train: async (configuration, context) => {
    const { train } = await import('../train/train.ts')
    const config = parse(TrainConfig, configuration)
    await sweepFor(config, context)
    return { run: await train(config, context) }
  },
  merge: async (configuration, context) => {
    const { merge } = await import('../merge/merge.ts')
    const config = parse(MergeConfig, configuration)
    await sweepFor(config, context)
    return { merge: await merge(config, context) }
  },
  upload: async (configuration, context) => {
    const { upload } = await import('../push/upload.ts')
    const config = parse(PushConfig, configuration)
    await sweepFor(config, context)
    return { push: await upload(config, context) }
  },
  serve: async (configuration, context) => {
    const config = parse(ServeConfig, configuration)
    if (config.vllm) await (await import('../vllm/serve.ts')).serveVllm(config, context)
    else await (await import('../serve/serve.ts')).serve(config, context)
    return {}
  },
} as const satisfies Record<string, Command>
