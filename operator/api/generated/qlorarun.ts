// Generated from crds/qlorarun.yaml by operator/api/generate.ts. Do not edit.
import type { KubeObject } from '../../kube/cluster.ts'

/** One training of one adapter on one dataset. Resumes after every disruption; once finished it never trains again. */
export interface QLoRARun extends KubeObject {
  apiVersion: 'humanizer.dev/v1alpha1'
  kind: 'QLoRARun'
  spec: QLoRARunSpec
  status?: QLoRARunStatus
}

/**
 * What is wanted.
 */
export interface QLoRARunSpec {
  /**
   * What the adapter is for, in words. Recorded with the run.
   */
  objective?: string
  /**
   * The HumanizerDataset of this namespace to train on. Its digest is pinned when the run starts.
   */
  datasetRef: {
    /**
     * Name of the dataset.
     */
    name: string
  }
  /**
   * The model to adapt, a Llama, Mistral, Phi-3 or Qwen2 in Hugging Face's format, or a Llama or Qwen2 in GGUF.
   */
  baseModel: {
    /**
     * A model repository on the Hugging Face Hub.
     */
    huggingFace?: {
      /**
       * owner/name.
       */
      repo: string
      /**
       * Branch, tag or commit. The commit that it led to is in status.
       */
      revision: string
      /**
       * Secret with an access token, mounted by the fetching pod only. Absent means anonymous.
       */
      tokenSecretRef?: {
        /**
         * Name of the Secret in this namespace.
         */
        name: string
        /**
         * Key whose value is the token.
         */
        key: string
      }
    }
    /**
     * A model folder or .gguf file on a PersistentVolumeClaim.
     */
    volume?: {
      /**
       * PersistentVolumeClaim in this namespace.
       */
      claimName: string
      /**
       * Folder or file, relative to the root of the volume.
       */
      path: string
    }
    /**
     * A .gguf file, or a .tar of a model folder, behind an address.
     */
    http?: {
      /**
       * Address of the file.
       */
      url: string
      /**
       * Sum that the bytes must have.
       */
      sha256: string
    }
  }
  /**
   * How the frozen base is held in memory.
   */
  quantization: {
    /**
     * 4-bit NormalFloat, or the base as it is. A base that bitsandbytes saved in 4 bits needs NF4 with the blockSize and doubleQuantization it was saved with.
     */
    type: 'NF4' | 'None'
    /**
     * Weights that share one scale.
     */
    blockSize: 64 | 128 | 256 | 512
    /**
     * Quantise the scales too.
     */
    doubleQuantization: boolean
    /**
     * Factors of the products with the frozen base; sums are float32 always. Auto: BFloat16 where the processor multiplies it, else Float32. BFloat16 is refused where it does not. Serving takes the same.
     */
    computeDType: 'Auto' | 'BFloat16' | 'Float32'
  }
  /**
   * The adapter.
   */
  lora: {
    /**
     * Rank of the update of each layer.
     */
    rank: number
    /**
     * The update is scaled by alpha / rank.
     */
    alpha: number
    /**
     * Share of the layer inputs that LoRA does not see in a step.
     */
    dropout: string
    /**
     * Names of the layers that get an adapter, as the model has them (Phi-3 has qkv_proj, not q_proj). Empty means every linear layer except the head. A name that matches nothing is an error.
     */
    targetModules: string[]
    /**
     * Scale by alpha / sqrt(rank) instead.
     */
    rankStabilized: boolean
  }
  /**
   * The optimisation.
   */
  training: {
    /**
     * Passes over the training rows.
     */
    epochs: number
    /**
     * Optimizer steps. Wins over epochs when given.
     */
    maxSteps?: number
    /**
     * Highest learning rate.
     */
    learningRate: string
    /**
     * How the rate falls after the warmup.
     */
    learningRateSchedule: 'Cosine' | 'Linear' | 'Constant'
    /**
     * Share of the steps in which the rate rises from 0; below 1.
     */
    warmupRatio: string
    /**
     * Packed sequences computed at once. Halved once when memory runs out.
     */
    microBatchSize: number
    /**
     * Micro-batches of one step.
     */
    gradientAccumulation: number
    /**
     * Tokens of one packed sequence. Texts are cut at sentence ends to fit; never mid-sentence.
     */
    maxSequenceLength: number
    /**
     * What the forward pass keeps for the backward pass; the rest is computed again, and the numbers are the same. None keeps everything, Selective not the outputs of norms and activation functions, Full each layer's input only, and so runs each layer forward twice; Offload lets those inputs of a GPU wait in the memory of its node, which is planned within the pod's memory limit (on a CPU it is Full). Auto takes the first that fits the memory.
     */
    activationCheckpointing: 'Auto' | 'None' | 'Selective' | 'Full' | 'Offload'
    /**
     * Fill sequences with several examples that do not see each other.
     */
    packing: boolean
    /**
     * AdamW8bit keeps the two moments in 8 bits, as bitsandbytes does: a quarter of their memory and of their part of a checkpoint.
     */
    optimizer: 'AdamW' | 'AdamW8bit'
    /**
     * AdamW's decay of the adapter's weights.
     */
    weightDecay: string
    /**
     * Gradients are scaled down to this norm. "0" turns it off.
     */
    maxGradientNorm: string
    /**
     * Seed of the adapter, of the order and of dropout.
     */
    seed: number
  }
  /**
   * Held-out loss. The untouched base is always measured first.
   */
  evaluation: {
    /**
     * Steps between evaluations; the last step is always evaluated.
     */
    everySteps: number
    /**
     * Size of the fixed subset.
     */
    maxExamples: number
    /**
     * Label tokens at most. Absent means 50,000 on a GPU and 5,000 on a CPU.
     */
    maxTokens?: number
    /**
     * Held-out texts, half of them machine-written where the dataset keeps such, that the base, the best and the newest checkpoint rewrite, for what the loss does not see: repetition, copying, memorisation and more. Absent means 500 on a GPU and 16 on a CPU; 0 writes none.
     */
    samples?: number
  }
  /**
   * What is kept to resume from and to release.
   */
  checkpoints: {
    /**
     * Steps between checkpoints; a new best is always saved.
     */
    everySteps: number
    /**
     * Newest checkpoints that are kept; the best is kept beside them.
     */
    keep: number
  }
  /**
   * When training ends before its last step.
   */
  earlyStopping: {
    /**
     * Evaluations in a row without improvement after which training ends. 0 turns it off.
     */
    patience: number
    /**
     * An improvement is a best loss lowered by more than this.
     */
    minImprovement: string
  }
  /**
   * What the trainer tells while it works.
   */
  logging: {
    /**
     * Steps between log lines.
     */
    everySteps: number
    /**
     * Write event files into the run's folder.
     */
    tensorBoard: boolean
    /**
     * Tells Weights & Biases, or a server of its kind, too. Its failure never fails or slows the run: the condition Tracked says it, and the figures wait in the run's folder for the next attempt.
     */
    weightsAndBiases?: {
      /**
       * Project that the run appears in.
       */
      project: string
      /**
       * Team or user that the project belongs to; the key's default one when absent.
       */
      entity?: string
      /**
       * Address of the server's API.
       */
      baseURL: string
      /**
       * Offline writes the history into the run's folder and sends nothing; a change to Online sends it with the next attempt.
       */
      mode: 'Online' | 'Offline'
      /**
       * Whether texts leave too: the samples as a table, samples.jsonl and report.html.
       */
      samples: boolean
      /**
       * Secret with the API key, mounted by the training pod only. The run does not wait for it.
       */
      secretRef?: {
        /**
         * Name of the Secret in this namespace.
         */
        name: string
        /**
         * Key whose value is the API key.
         */
        key: string
      }
    }
  }
  /**
   * Where the arithmetic runs. Auto is the CPU when no GPU was asked for and none is there, and CUDA otherwise; it never falls back to the CPU beside a GPU that cannot be used. CUDA needs a GPU among pod.resources.limits, such as nvidia.com/gpu.
   */
  backend: 'Auto' | 'CPU' | 'CUDA'
  /**
   * Seal a checkpoint and give the node back; training goes on from there when it is false again.
   */
  suspend: boolean
  /**
   * Failures after which the run has failed. Disruptions (eviction, preemption, a lost node, a deleted pod) do not count.
   */
  maxRetries: number
  /**
   * Any text. A failed run tries again when it changes.
   */
  retryToken?: string
  /**
   * A trainer that makes no progress for so long is stopped and counted as a failure.
   */
  progressDeadlineSeconds: number
  /**
   * What is decided about the pods beside their work. A change counts from the next attempt on.
   */
  pod: {
    /**
     * Requests and limits of the container.
     */
    resources?: {
      /**
       * Most that the container may use, by resource name.
       */
      limits?: {
        /**
         * A quantity such as 500m, 2 or 1.5Gi.
         */
        [k: string]: number | string
      }
      /**
       * What the scheduler sets aside for the container, by resource name.
       */
      requests?: {
        /**
         * A quantity such as 500m, 2 or 1.5Gi.
         */
        [k: string]: number | string
      }
    }
    /**
     * Labels that a node must have.
     */
    nodeSelector?: {
      /**
       * Value of the label.
       */
      [k: string]: string
    }
    /**
     * Taints of nodes that the pod tolerates.
     */
    tolerations?: {
      /**
       * Key of the taint; absent means every key.
       */
      key?: string
      /**
       * How the value is compared.
       */
      operator?: 'Exists' | 'Equal'
      /**
       * Value of the taint.
       */
      value?: string
      /**
       * Effect of the taint; absent means every effect.
       */
      effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute'
      /**
       * Seconds that a NoExecute taint is tolerated for.
       */
      tolerationSeconds?: number
    }[]
    /**
     * Affinity as in a pod's spec; checked by Kubernetes when the pod is made.
     */
    affinity?: Record<string, unknown>
    /**
     * RuntimeClass of the pod.
     */
    runtimeClassName?: string
    /**
     * PriorityClass of the pod.
     */
    priorityClassName?: string
    /**
     * Secrets of this namespace with which the image is pulled.
     */
    imagePullSecrets?: {
      /**
       * Name of the Secret.
       */
      name: string
    }[]
    /**
     * Labels added to the pods, such as kueue.x-k8s.io/queue-name. Keys of humanizer.dev and app.kubernetes.io/managed-by are the operator's own.
     */
    labels?: {
      /**
       * Value of the label.
       */
      [k: string]: string
    }
  }
  /**
   * Where the files lie.
   */
  storage: {
    /**
     * PersistentVolumeClaim of this namespace; the one that the dataset lies on. Never made or deleted by a run.
     */
    claimName: string
    /**
     * What becomes of the files once this object is deleted. Retain keeps them. Delete lets a later Job of the namespace remove its folder: checkpoints, reports and events, unless something that is left refers to them.
     */
    reclaimPolicy: 'Retain' | 'Delete'
  }
}

/**
 * What is. Written by the operator alone.
 */
export interface QLoRARunStatus {
  /**
   * metadata.generation that this status speaks of.
   */
  observedGeneration?: number
  /**
   * Ready and Succeeded always; Reconciling and Stalled only while true, Finite only while false, Healthy once the run is diagnosed, Tracked once a tracking server was asked. In kstatus' terms.
   */
  conditions?: {
    /**
     * What the condition is about.
     */
    type: string
    /**
     * Whether it holds.
     */
    status: 'True' | 'False' | 'Unknown'
    /**
     * Why, in one word of operator/api.
     */
    reason: string
    /**
     * Why, in words.
     */
    message: string
    /**
     * Generation that the condition was computed from.
     */
    observedGeneration: number
    /**
     * When status last changed.
     */
    lastTransitionTime: string
  }[]
  /**
   * When dataset and configuration were pinned.
   */
  startTime?: string
  /**
   * When the run succeeded, or failed for good.
   */
  completionTime?: string
  /**
   * What the run trains on.
   */
  datasetDigest?: string
  /**
   * Folder of it, relative to the root of the claim.
   */
  datasetLocation?: string
  /**
   * Prompts that the adapter is trained with.
   */
  format?: {
    /**
     * Kind of the examples.
     */
    sample: string
    /**
     * System prompt.
     */
    systemPrompt: string
    /**
     * User's turn, with {text}.
     */
    userTemplate: string
    /**
     * Chat template in place of the tokenizer's own.
     */
    chatTemplate?: string
  }
  /**
   * The fetched base model.
   */
  model?: {
    /**
     * Folder or file, relative to the root of the claim; below /models-source when it is on a claim of its own.
     */
    path: string
    /**
     * Claim that it is read from, when that is another than spec.storage.claimName.
     */
    claimName?: string
    /**
     * sha256 over the sums of its files.
     */
    digest: string
    /**
     * Commit of the Hub.
     */
    revision?: string
    /**
     * Name that the adapter gives its base.
     */
    name?: string
  }
  /**
   * sha256 of the configuration that all attempts share.
   */
  configDigest?: string
  /**
   * spec.retryToken that the run heeds.
   */
  retryToken?: string
  /**
   * Attempts that count against maxRetries, since the last retryToken.
   */
  failures?: number
  /**
   * Number of the newest attempt of training.
   */
  attempt?: number
  /**
   * The newest attempt of fetching the base model.
   */
  fetch?: {
    /**
     * Number of the attempt; its Job is <name>-fetch-<number>.
     */
    number: number
    /**
     * When it was decided.
     */
    startTime: string
    /**
     * When its end was seen.
     */
    finishTime?: string
    /**
     * How it ended.
     */
    reason?: string
    /**
     * Attempts that count against maxRetries, since the last retryToken.
     */
    failures?: number
    /**
     * Attempts in a row that brought no model, for whatever reason; sets the pace of the next one.
     */
    fruitless?: number
  }
  /**
   * Newest last.
   */
  attempts?: {
    /**
     * Number of the attempt; its Job is <name>-train-<number>.
     */
    number: number
    /**
     * Packed sequences computed at once.
     */
    microBatchSize: number
    /**
     * Micro-batches of one step.
     */
    gradientAccumulation: number
    /**
     * When it was decided.
     */
    startTime: string
    /**
     * When its end was seen. Absent while it goes on.
     */
    finishTime?: string
    /**
     * How it ended.
     */
    reason?: string
    /**
     * uid of its newest pod.
     */
    podUID?: string
    /**
     * Step of the checkpoint that it went on from.
     */
    resumedFromStep?: number
    /**
     * Whether it went on bit for bit: same instructions, threads and libraries.
     */
    exact?: boolean
  }[]
  /**
   * How far training is, as last heard. Losses are nats per label token.
   */
  progress?: {
    /**
     * Preparing, MeasuringBaseline, Training, Evaluating or Stopping.
     */
    phase?: string
    /**
     * Optimizer steps done.
     */
    step: number
    /**
     * Optimizer steps in all.
     */
    totalSteps: number
    /**
     * Share of the steps done, such as 42%.
     */
    percent: string
    /**
     * Passes over the rows so far.
     */
    epoch?: string
    /**
     * Loss of the newest step.
     */
    trainLoss?: string
    /**
     * Newest held-out loss.
     */
    evalLoss?: string
    /**
     * Speed of training.
     */
    tokensPerSecond?: string
    /**
     * Share of the time in which the GPU computed, such as 97%. Absent on a CPU.
     */
    gpuUtilization?: string
    /**
     * Time to the last step, such as 1h32m.
     */
    remaining?: string
    /**
     * When this was heard.
     */
    updateTime: string
  }
  /**
   * The untouched base, measured before the first step.
   */
  baseline?: {
    /**
     * Held-out loss.
     */
    loss?: string
    /**
     * Half width of its 95 % interval.
     */
    lossInterval?: string
    /**
     * Loss of held-out human text under the denoise prompt.
     */
    humanLoss?: string
    /**
     * Held-out loss of the base before quantisation.
     */
    unquantizedLoss?: string
    /**
     * What was measured beside the loss.
     */
    metrics?: {
      /**
       * Such as improvement, repetition4 or copyRate; operator/api/metrics.ts has all.
       */
      name: string
      /**
       * Decimal.
       */
      value: string
      /**
       * Lower end of its 95 % interval.
       */
      low?: string
      /**
       * Upper end of its 95 % interval.
       */
      high?: string
    }[]
  }
  /**
   * Sealed ones, newest last: best, newest and kept.
   */
  checkpoints?: {
    /**
     * checkpoint-<step>.
     */
    name: string
    /**
     * Optimizer steps done.
     */
    step: number
    /**
     * Identity of the adapter.
     */
    digest: string
    /**
     * Folder, relative to the root of the claim.
     */
    path: string
    /**
     * Lowest held-out loss so far.
     */
    best?: boolean
    /**
     * Held-out loss.
     */
    evalLoss?: string
    /**
     * Half width of its 95 % interval.
     */
    evalLossInterval?: string
    /**
     * Loss of held-out human text under the denoise prompt.
     */
    humanLoss?: string
    /**
     * What was measured beside the loss; improvement is the base's loss minus this one's on the same texts.
     */
    metrics?: {
      /**
       * Such as improvement, repetition4 or copyRate; operator/api/metrics.ts has all.
       */
      name: string
      /**
       * Decimal.
       */
      value: string
      /**
       * Lower end of its 95 % interval.
       */
      low?: string
      /**
       * Upper end of its 95 % interval.
       */
      high?: string
    }[]
  }[]
  /**
   * How the rows became tokens.
   */
  data?: {
    /**
     * Examples trained on.
     */
    examples?: number
    /**
     * Texts cut into pieces to fit.
     */
    chunked?: number
    /**
     * Sentences too long to fit.
     */
    dropped?: number
    /**
     * Tokens without loss.
     */
    promptTokens?: number
    /**
     * Tokens with loss.
     */
    labelTokens?: number
    /**
     * Share of the packed positions that hold a token.
     */
    packingEfficiency?: string
  }
  /**
   * What became of the run: the gravest failure that the evidence shows, and what helps.
   */
  diagnosis?: {
    /**
     * Healthy; Overfitting: held-out loss rises while training loss falls, or outputs repeat, swell or are memorised; Underfitting: no real gain over the base; CopyCollapse: outputs are their inputs; Unknown: evidence is missing, or too little to tell: an interval holds the limit. A gate on that figure is then inconclusive.
     */
    verdict: 'Healthy' | 'Overfitting' | 'Underfitting' | 'CopyCollapse' | 'Unknown'
    /**
     * What it rests on.
     */
    findings?: {
      /**
       * What the evidence points to.
       */
      verdict: string
      /**
       * The figures, in words.
       */
      evidence: string
    }[]
    /**
     * What to try in the next run: the setting, its value now and the next one.
     */
    advice?: string[]
  }
  /**
   * The experiment checklist: each item done only when its evidence is there.
   */
  checklist?: {
    /**
     * ObjectiveDefined, DataLicensesVerified, SplitCreated, DedupReportReviewed, BaselineCaptured, ConfigurationDocumented, AdapterVerified, EvaluatedAfterTraining, SamplesReviewed, DeploymentDecided or RollbackTested.
     */
    item: string
    /**
     * Whether it is.
     */
    done: boolean
    /**
     * What shows it, or what is missing.
     */
    evidence: string
  }[]
  /**
   * Whether training ended because the loss stopped improving.
   */
  stoppedEarly?: boolean
  /**
   * Advice in words.
   */
  warnings?: string[]
}
