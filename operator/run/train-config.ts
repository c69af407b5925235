import type { BaseModel, FetchConfig, ResolvedModel } from '#proto/humanizer/trainer/v1/model.ts'
import { TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import type { Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { digestOf } from '../workload/digest.ts'
import { trainerPort } from '../workload/job.ts'
import { backendFor, modelSourceFolder, tokenFile } from '../workload/pod.ts'
import type { Plan } from './decide.ts'

/** Folder of the token of a base model, below /etc/humanizer-secrets. */
export const modelTokenFolder = 'model'

/** Folder of the key of Weights & Biases, there too. */
export const trackingKeyFolder = 'weights-and-biases'

/** The base model's claim, when it is another than the run's. */
export function modelClaim({ spec: { baseModel, storage } }: QLoRARun): string | undefined {
  const claimName = baseModel.volume?.claimName
  return claimName === storage.claimName ? undefined : claimName
}

const ownerOf = ({ metadata }: QLoRARun) => ({
  namespace: metadata.namespace ?? '',
  name: metadata.name,
  uid: metadata.uid ?? '',
})

/** Configuration of one attempt of `fetch`. */
export function fetchConfig(run: QLoRARun, attempt: number, reclaim: Reclaim): FetchConfig {
  return {
    owner: ownerOf(run),
    model: baseModel(run),
    attempt,
    reclaim,
    chatTemplate: run.status?.format?.chatTemplate,
  }
}

function baseModel(run: QLoRARun): BaseModel {
  const { huggingFace, volume, http } = run.spec.baseModel
  return {
    huggingFace: huggingFace && {
      repository: huggingFace.repo,
      revision: huggingFace.revision,
      files: [],
      tokenFile: huggingFace.tokenSecretRef ? tokenFile(modelTokenFolder) : '',
    },
    volumePath: volume && (modelClaim(run) ? `${modelSourceFolder}/${volume.path}` : volume.path),
    http,
  }
}

/** What every attempt of a run shares; rendered from the spec and from what the status pinned. */
function shared(run: QLoRARun): TrainConfig {
  const { spec, status = {} } = run
  const { lora, training, evaluation, earlyStopping } = spec
  return {
    owner: ownerOf(run),
    trust: undefined,
    attempt: 0,
    model: resolvedModel(status.model),
    datasetDigest: status.datasetDigest ?? '',
    datasetPath: status.datasetLocation ?? '',
    quantization: { ...spec.quantization, computeDtype: spec.quantization.computeDType },
    lora: { ...lora, dropout: Number(lora.dropout) },
    training: {
      ...training,
      maxSteps: training.maxSteps ?? 0,
      learningRate: Number(training.learningRate),
      warmupRatio: Number(training.warmupRatio),
      weightDecay: Number(training.weightDecay),
      maxGradientNorm: Number(training.maxGradientNorm),
      microBatchSize: 0,
      gradientAccumulation: 0,
    },
    evaluation: { ...evaluation, maxTokens: evaluation.maxTokens ?? 0, samples: evaluation.samples },
    checkpoints: spec.checkpoints,
    earlyStopping: { patience: earlyStopping.patience, minImprovement: Number(earlyStopping.minImprovement) },
    logging: loggingOf(spec),
    backend: spec.backend,
    objective: spec.objective ?? '',
    configDigest: '',
    reclaim: undefined,
  }
}

function loggingOf({ logging }: QLoRARun['spec']): TrainConfig['logging'] {
  const { everySteps, tensorBoard, weightsAndBiases: given } = logging
  const { baseURL = '', entity = '', project = '', mode = '', samples = false } = given ?? {}
  const weightsAndBiases = { baseUrl: baseURL, entity, project, mode, samples, keyFile: tokenFile(trackingKeyFolder) }
  return { everySteps, tensorBoard, weightsAndBiases: given && weightsAndBiases }
}

const resolvedModel = (model: NonNullable<QLoRARun['status']>['model']): ResolvedModel | undefined =>
  model && { path: model.path, digest: model.digest, revision: model.revision ?? '', name: model.name ?? '' }

/** Identity of a run's configuration: what no attempt may change. What the user may change at any time does not count. */
export function configDigest(run: QLoRARun): string {
  const { objective: _, logging: __, ...config } = TrainConfig.toJSON(shared(run)) as Record<string, unknown>
  return digestOf(config)
}

/** Configuration of one attempt of `train`. */
export function trainConfig(
  run: QLoRARun,
  attempt: number,
  plan: Plan,
  publicKeyPem: string,
  reclaim: Reclaim,
): TrainConfig {
  const config = shared(run)
  return {
    ...config,
    attempt,
    backend: backendFor(run.spec.backend, run.spec.pod),
    trust: { publicKey: publicKeyPem, port: trainerPort },
    training: config.training && { ...config.training, ...plan },
    configDigest: run.status?.configDigest ?? '',
    reclaim,
  }
}
