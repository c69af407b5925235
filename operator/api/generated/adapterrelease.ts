// Generated from crds/adapterrelease.yaml by operator/api/generate.ts. Do not edit.
import type { KubeObject } from '../../kube/cluster.ts'

/** Says which adapter serves, what it must prove first, and how it goes back. A rollback is spec.source set to something that served before. */
export interface AdapterRelease extends KubeObject {
  apiVersion: 'humanizer.dev/v1alpha1'
  kind: 'AdapterRelease'
  spec: AdapterReleaseSpec
  status?: AdapterReleaseStatus
}

/**
 * What should serve and how.
 */
export interface AdapterReleaseSpec {
  /**
   * What should serve. Exactly one of run, digest and base. Changing it back to something that served before is a rollback; it passes no gates and restarts no pod.
   */
  source: {
    /**
     * A checkpoint of a run in this namespace.
     */
    run?: {
      /**
       * Name of the QLoRARun. The release waits until it has succeeded.
       */
      name: string
      /**
       * Best, Latest or checkpoint-N. Best and Latest are resolved once, after the run has succeeded, and pinned in status.resolved.
       */
      checkpoint: string
    }
    /**
     * Digest of an adapter that this release served before, or of a checkpoint of any run in this namespace.
     */
    digest?: string
    /**
     * true serves the untouched base model of what served last.
     */
    base?: boolean
  }
  /**
   * What a candidate must prove before it serves. All must pass. Something that served before is not asked again.
   *
   * Items: One bound on one metric. Exactly one of max and maxRegression.
   */
  gates?: {
    /**
     * evalLoss, the loss on the held-out split in nats per label token; lower is better.
     */
    metric: 'evalLoss'
    /**
     * The metric must not be above this decimal.
     */
    max?: string
    /**
     * The metric must not exceed that of `against` by more than this decimal; a negative one demands an improvement.
     */
    maxRegression?: string
    /**
     * Baseline is the untouched base measured by the same run; Active is what serves now.
     */
    against?: 'Baseline' | 'Active'
    /**
     * Enforce refuses the candidate; Warn only records the result.
     */
    enforcement: 'Enforce' | 'Warn'
  }[]
  /**
   * The pods that answer requests.
   */
  serving: {
    /**
     * Number of serving pods. Leave it out when an autoscaler scales this object through its scale subresource; then 1 to begin with.
     */
    replicas?: number
    /**
     * Port of the Service and of the pods for the OpenAI-compatible API.
     */
    port: number
    /**
     * Name that clients send as model; the name of this object when absent. <name>@base is the untouched base.
     */
    modelName?: string
    /**
     * Tokens of prompt and answer together; the model's own limit when absent.
     */
    maxContextTokens?: number
    /**
     * Who may connect, enforced by a NetworkPolicy. When empty, every pod of this namespace may, and nobody else.
     *
     * Items: Pods of one namespace.
     */
    clients?: {
      /**
       * Name of the namespace; this one when absent.
       */
      namespace?: string
      /**
       * Labels that the pods must have; every pod when absent.
       */
      podLabels?: {
        [k: string]: string
      }
    }[]
  }
  /**
   * What the serving pods look like to the scheduler. A change rolls the pods.
   */
  pod: {
    /**
     * Requests and limits of the container. A GPU is limits["nvidia.com/gpu"].
     */
    resources?: {
      /**
       * Quantities by resource name.
       */
      requests?: {
        [k: string]: number | string
      }
      /**
       * Quantities by resource name.
       */
      limits?: {
        [k: string]: number | string
      }
    }
    /**
     * Labels by name.
     */
    nodeSelector?: {
      [k: string]: string
    }
    /**
     * Taints that the pods tolerate.
     *
     * Items: One toleration.
     */
    tolerations?: {
      /**
       * Key of the taint; every key when absent.
       */
      key?: string
      /**
       * Equal or Exists.
       */
      operator?: 'Equal' | 'Exists'
      /**
       * Value of the taint.
       */
      value?: string
      /**
       * Effect that is tolerated; every effect when absent.
       */
      effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute'
      /**
       * Seconds that a NoExecute taint is tolerated; for ever when absent.
       */
      tolerationSeconds?: number
    }[]
    /**
     * A core/v1 Affinity, copied to the pods as it is.
     */
    affinity?: Record<string, unknown>
    /**
     * RuntimeClass of the pods, such as nvidia.
     */
    runtimeClassName?: string
    /**
     * PriorityClass of the pods.
     */
    priorityClassName?: string
    /**
     * Secrets of this namespace for pulling the trainer image.
     *
     * Items: A Secret by name.
     */
    imagePullSecrets?: {
      /**
       * Name of the Secret.
       */
      name: string
    }[]
    /**
     * Labels by name.
     */
    labels?: {
      [k: string]: string
    }
  }
  /**
   * The claim that holds models and adapters.
   */
  storage: {
    /**
     * PersistentVolumeClaim of this namespace; the one the run trained on. It is never deleted by a release.
     */
    claimName: string
    /**
     * What becomes of the files once this object is deleted. Retain keeps them. Delete lets a later Job of the namespace remove the adapters promoted for it, unless something that is left refers to them.
     */
    reclaimPolicy: 'Retain' | 'Delete'
  }
}

/**
 * What serves, what is about to, and what served before.
 */
export interface AdapterReleaseStatus {
  /**
   * metadata.generation that this status was computed from.
   */
  observedGeneration?: number
  /**
   * Ready; Reconciling and Stalled only while true; Serving tells whether requests are answered, by whatever it is.
   *
   * Items: A metav1.Condition.
   */
  conditions?: {
    /**
     * Ready, Reconciling, Stalled or Serving.
     */
    type: string
    /**
     * True, False or Unknown.
     */
    status: 'True' | 'False' | 'Unknown'
    /**
     * One word for programs; all are listed in operator/api/release-reasons.ts.
     */
    reason: string
    /**
     * One sentence for people.
     */
    message: string
    /**
     * metadata.generation that this condition was computed from.
     */
    observedGeneration: number
    /**
     * When status last changed.
     */
    lastTransitionTime: string
  }[]
  /**
   * An adapter, or the untouched base, with everything that is needed to serve it again.
   */
  active?: {
    /**
     * What people call it, run/checkpoint-N; its digest when no run is known; base.
     */
    name: string
    /**
     * Run that trained it; absent for the base. The run may be gone by now.
     */
    run?: string
    /**
     * Checkpoint of the run, checkpoint-N.
     */
    checkpoint?: string
    /**
     * The adapter's identity, sha256 over its contents; empty is the untouched base.
     */
    digest: string
    /**
     * Sealed checkpoint on the claim that promotion copies from; not needed once it has served.
     */
    path?: string
    /**
     * Number of the switch that asked for it. Grows with every change of what should serve and is never reused.
     */
    generation: number
    /**
     * When all serving pods had it loaded; absent before.
     */
    activeSinceTime?: string
    /**
     * What its run measured, as decimals, in nats per label token.
     */
    metrics?: {
      /**
       * Loss of this checkpoint on the held-out split.
       */
      evalLoss?: string
      /**
       * Loss of the untouched base on the same examples.
       */
      baselineLoss?: string
      /**
       * The dataset whose held-out split was measured; losses of different datasets are not compared.
       */
      datasetDigest?: string
    }
    /**
     * The base model it belongs to.
     */
    model?: {
      /**
       * Folder or .gguf file, relative to the claim's root; below /models-source when it is on a claim of its own.
       */
      path: string
      /**
       * Claim that it is read from, when that is another than the run's spec.storage.claimName.
       */
      claimName?: string
      /**
       * Digest of the base model.
       */
      digest: string
      /**
       * owner/name or the file name.
       */
      name?: string
      /**
       * Commit of the Hub, when it came from there.
       */
      revision?: string
    }
    /**
     * How the base is held in memory, as it was during training.
     */
    quantization?: {
      /**
       * NF4 or None.
       */
      type: string
      /**
       * Elements of one block of NF4.
       */
      blockSize: number
      /**
       * Whether the scales of the blocks are quantised too.
       */
      doubleQuantization: boolean
      /**
       * Auto, BFloat16 or Float32.
       */
      computeDType: string
    }
    /**
     * Prompt of the dataset it was trained on, for /v1/rewrite.
     */
    format?: {
      /**
       * Kind of the training samples, Identity or Denoise.
       */
      sample?: string
      /**
       * System prompt of the training samples.
       */
      systemPrompt?: string
      /**
       * User prompt of the training samples, with {text} in it.
       */
      userTemplate?: string
    }
  }
  /**
   * An adapter, or the untouched base, with everything that is needed to serve it again.
   */
  candidate?: {
    /**
     * What people call it, run/checkpoint-N; its digest when no run is known; base.
     */
    name: string
    /**
     * Run that trained it; absent for the base. The run may be gone by now.
     */
    run?: string
    /**
     * Checkpoint of the run, checkpoint-N.
     */
    checkpoint?: string
    /**
     * The adapter's identity, sha256 over its contents; empty is the untouched base.
     */
    digest: string
    /**
     * Sealed checkpoint on the claim that promotion copies from; not needed once it has served.
     */
    path?: string
    /**
     * Number of the switch that asked for it. Grows with every change of what should serve and is never reused.
     */
    generation: number
    /**
     * When all serving pods had it loaded; absent before.
     */
    activeSinceTime?: string
    /**
     * What its run measured, as decimals, in nats per label token.
     */
    metrics?: {
      /**
       * Loss of this checkpoint on the held-out split.
       */
      evalLoss?: string
      /**
       * Loss of the untouched base on the same examples.
       */
      baselineLoss?: string
      /**
       * The dataset whose held-out split was measured; losses of different datasets are not compared.
       */
      datasetDigest?: string
    }
    /**
     * The base model it belongs to.
     */
    model?: {
      /**
       * Folder or .gguf file, relative to the claim's root; below /models-source when it is on a claim of its own.
       */
      path: string
      /**
       * Claim that it is read from, when that is another than the run's spec.storage.claimName.
       */
      claimName?: string
      /**
       * Digest of the base model.
       */
      digest: string
      /**
       * owner/name or the file name.
       */
      name?: string
      /**
       * Commit of the Hub, when it came from there.
       */
      revision?: string
    }
    /**
     * How the base is held in memory, as it was during training.
     */
    quantization?: {
      /**
       * NF4 or None.
       */
      type: string
      /**
       * Elements of one block of NF4.
       */
      blockSize: number
      /**
       * Whether the scales of the blocks are quantised too.
       */
      doubleQuantization: boolean
      /**
       * Auto, BFloat16 or Float32.
       */
      computeDType: string
    }
    /**
     * Prompt of the dataset it was trained on, for /v1/rewrite.
     */
    format?: {
      /**
       * Kind of the training samples, Identity or Denoise.
       */
      sample?: string
      /**
       * System prompt of the training samples.
       */
      systemPrompt?: string
      /**
       * User prompt of the training samples, with {text} in it.
       */
      userTemplate?: string
    }
  }
  /**
   * What became of the candidate so far.
   */
  verdict?: {
    /**
     * Switching while pods load it; Refused when a gate or a pod said no, until the spec changes.
     */
    state: 'Switching' | 'Refused'
    /**
     * Hash of the spec (without replicas) that the verdict was given for.
     */
    judged: string
    /**
     * Why it was refused.
     */
    reason?: string
    /**
     * The refusal in words.
     */
    message?: string
    /**
     * One result per gate of the spec, in its order.
     *
     * Items: The result of one gate.
     */
    gates?: {
      /**
       * Metric of the gate.
       */
      metric: string
      /**
       * Passed; Failed (measured and bad); Inconclusive (evidence is missing); Error (the evidence cannot be read).
       */
      result: 'Passed' | 'Failed' | 'Inconclusive' | 'Error'
      /**
       * Enforce or Warn.
       */
      enforcement: 'Enforce' | 'Warn'
      /**
       * The figures that were compared.
       */
      message: string
    }[]
  }
  /**
   * An adapter, or the untouched base, with everything that is needed to serve it again.
   */
  previous?: {
    /**
     * What people call it, run/checkpoint-N; its digest when no run is known; base.
     */
    name: string
    /**
     * Run that trained it; absent for the base. The run may be gone by now.
     */
    run?: string
    /**
     * Checkpoint of the run, checkpoint-N.
     */
    checkpoint?: string
    /**
     * The adapter's identity, sha256 over its contents; empty is the untouched base.
     */
    digest: string
    /**
     * Sealed checkpoint on the claim that promotion copies from; not needed once it has served.
     */
    path?: string
    /**
     * Number of the switch that asked for it. Grows with every change of what should serve and is never reused.
     */
    generation: number
    /**
     * When all serving pods had it loaded; absent before.
     */
    activeSinceTime?: string
    /**
     * What its run measured, as decimals, in nats per label token.
     */
    metrics?: {
      /**
       * Loss of this checkpoint on the held-out split.
       */
      evalLoss?: string
      /**
       * Loss of the untouched base on the same examples.
       */
      baselineLoss?: string
      /**
       * The dataset whose held-out split was measured; losses of different datasets are not compared.
       */
      datasetDigest?: string
    }
    /**
     * The base model it belongs to.
     */
    model?: {
      /**
       * Folder or .gguf file, relative to the claim's root; below /models-source when it is on a claim of its own.
       */
      path: string
      /**
       * Claim that it is read from, when that is another than the run's spec.storage.claimName.
       */
      claimName?: string
      /**
       * Digest of the base model.
       */
      digest: string
      /**
       * owner/name or the file name.
       */
      name?: string
      /**
       * Commit of the Hub, when it came from there.
       */
      revision?: string
    }
    /**
     * How the base is held in memory, as it was during training.
     */
    quantization?: {
      /**
       * NF4 or None.
       */
      type: string
      /**
       * Elements of one block of NF4.
       */
      blockSize: number
      /**
       * Whether the scales of the blocks are quantised too.
       */
      doubleQuantization: boolean
      /**
       * Auto, BFloat16 or Float32.
       */
      computeDType: string
    }
    /**
     * Prompt of the dataset it was trained on, for /v1/rewrite.
     */
    format?: {
      /**
       * Kind of the training samples, Identity or Denoise.
       */
      sample?: string
      /**
       * System prompt of the training samples.
       */
      systemPrompt?: string
      /**
       * User prompt of the training samples, with {text} in it.
       */
      userTemplate?: string
    }
  }
  /**
   * What has served, newest first, each digest once. Any of them can be asked for again.
   *
   * Items: An adapter, or the untouched base, with everything that is needed to serve it again.
   */
  history?: {
    /**
     * What people call it, run/checkpoint-N; its digest when no run is known; base.
     */
    name: string
    /**
     * Run that trained it; absent for the base. The run may be gone by now.
     */
    run?: string
    /**
     * Checkpoint of the run, checkpoint-N.
     */
    checkpoint?: string
    /**
     * The adapter's identity, sha256 over its contents; empty is the untouched base.
     */
    digest: string
    /**
     * Sealed checkpoint on the claim that promotion copies from; not needed once it has served.
     */
    path?: string
    /**
     * Number of the switch that asked for it. Grows with every change of what should serve and is never reused.
     */
    generation: number
    /**
     * When all serving pods had it loaded; absent before.
     */
    activeSinceTime?: string
    /**
     * What its run measured, as decimals, in nats per label token.
     */
    metrics?: {
      /**
       * Loss of this checkpoint on the held-out split.
       */
      evalLoss?: string
      /**
       * Loss of the untouched base on the same examples.
       */
      baselineLoss?: string
      /**
       * The dataset whose held-out split was measured; losses of different datasets are not compared.
       */
      datasetDigest?: string
    }
    /**
     * The base model it belongs to.
     */
    model?: {
      /**
       * Folder or .gguf file, relative to the claim's root; below /models-source when it is on a claim of its own.
       */
      path: string
      /**
       * Claim that it is read from, when that is another than the run's spec.storage.claimName.
       */
      claimName?: string
      /**
       * Digest of the base model.
       */
      digest: string
      /**
       * owner/name or the file name.
       */
      name?: string
      /**
       * Commit of the Hub, when it came from there.
       */
      revision?: string
    }
    /**
     * How the base is held in memory, as it was during training.
     */
    quantization?: {
      /**
       * NF4 or None.
       */
      type: string
      /**
       * Elements of one block of NF4.
       */
      blockSize: number
      /**
       * Whether the scales of the blocks are quantised too.
       */
      doubleQuantization: boolean
      /**
       * Auto, BFloat16 or Float32.
       */
      computeDType: string
    }
    /**
     * Prompt of the dataset it was trained on, for /v1/rewrite.
     */
    format?: {
      /**
       * Kind of the training samples, Identity or Denoise.
       */
      sample?: string
      /**
       * System prompt of the training samples.
       */
      systemPrompt?: string
      /**
       * User prompt of the training samples, with {text} in it.
       */
      userTemplate?: string
    }
  }[]
  /**
   * What Best or Latest of a run meant when it was resolved.
   */
  resolved?: {
    /**
     * Name of the run.
     */
    run: string
    /**
     * uid of the run; a new run of this name is not the same run.
     */
    runUID: string
    /**
     * The word that was resolved, Best, Latest or checkpoint-N.
     */
    checkpoint: string
    /**
     * An adapter, or the untouched base, with everything that is needed to serve it again.
     */
    adapter: {
      /**
       * What people call it, run/checkpoint-N; its digest when no run is known; base.
       */
      name: string
      /**
       * Run that trained it; absent for the base. The run may be gone by now.
       */
      run?: string
      /**
       * Checkpoint of the run, checkpoint-N.
       */
      checkpoint?: string
      /**
       * The adapter's identity, sha256 over its contents; empty is the untouched base.
       */
      digest: string
      /**
       * Sealed checkpoint on the claim that promotion copies from; not needed once it has served.
       */
      path?: string
      /**
       * Number of the switch that asked for it. Grows with every change of what should serve and is never reused.
       */
      generation: number
      /**
       * When all serving pods had it loaded; absent before.
       */
      activeSinceTime?: string
      /**
       * What its run measured, as decimals, in nats per label token.
       */
      metrics?: {
        /**
         * Loss of this checkpoint on the held-out split.
         */
        evalLoss?: string
        /**
         * Loss of the untouched base on the same examples.
         */
        baselineLoss?: string
        /**
         * The dataset whose held-out split was measured; losses of different datasets are not compared.
         */
        datasetDigest?: string
      }
      /**
       * The base model it belongs to.
       */
      model?: {
        /**
         * Folder or .gguf file, relative to the claim's root; below /models-source when it is on a claim of its own.
         */
        path: string
        /**
         * Claim that it is read from, when that is another than the run's spec.storage.claimName.
         */
        claimName?: string
        /**
         * Digest of the base model.
         */
        digest: string
        /**
         * owner/name or the file name.
         */
        name?: string
        /**
         * Commit of the Hub, when it came from there.
         */
        revision?: string
      }
      /**
       * How the base is held in memory, as it was during training.
       */
      quantization?: {
        /**
         * NF4 or None.
         */
        type: string
        /**
         * Elements of one block of NF4.
         */
        blockSize: number
        /**
         * Whether the scales of the blocks are quantised too.
         */
        doubleQuantization: boolean
        /**
         * Auto, BFloat16 or Float32.
         */
        computeDType: string
      }
      /**
       * Prompt of the dataset it was trained on, for /v1/rewrite.
       */
      format?: {
        /**
         * Kind of the training samples, Identity or Denoise.
         */
        sample?: string
        /**
         * System prompt of the training samples.
         */
        systemPrompt?: string
        /**
         * User prompt of the training samples, with {text} in it.
         */
        userTemplate?: string
      }
    }
  }
  /**
   * Highest number of a switch that was ever given out.
   */
  switchGeneration?: number
  /**
   * Deployment that the Service leads to.
   */
  deployment?: string
  /**
   * The serving pods and what they say they have loaded.
   *
   * Items: One serving pod.
   */
  pods?: {
    /**
     * Name of the pod.
     */
    name: string
    /**
     * uid of the pod.
     */
    uid: string
    /**
     * Restarts of its container.
     */
    restarts?: number
    /**
     * What it says it has loaded; empty is the base; absent when it has not said.
     */
    digest?: string
    /**
     * When it finished loading that.
     */
    loadedTime?: string
  }[]
  /**
   * Base URL inside the cluster, for OPENAI_BASE_URL.
   */
  endpoint?: string
  /**
   * Pods of the Deployment that the Service leads to, for the scale subresource.
   */
  replicas?: number
  /**
   * Label selector of these pods, for the scale subresource.
   */
  selector?: string
}
