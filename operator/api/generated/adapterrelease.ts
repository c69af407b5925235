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
       * Best, Latest or checkpoint-N. Resolved once, after the run has ended, and pinned in status. What has served stays what it was, also when the run is deleted or made again; another run's is named by its digest.
       */
      checkpoint: string
    }
    /**
     * Digest of an adapter that a release of this namespace served before, or of a checkpoint of any run in it.
     */
    digest?: string
    /**
     * true serves the untouched base model of what served last.
     */
    base?: boolean
  }
  /**
   * Adapter serves the adapter beside its base as it was trained, in pods that all adapters of that base share and switch between in seconds; recommended. Merged writes it into the base's 16-bit weights by a Job, proves that these compute the same, and serves them unquantised in pods of their own, started beside the old ones; for a base in GGUF or saved in 4 bits it is refused. A change of form is a switch.
   */
  form: 'Adapter' | 'Merged'
  /**
   * The policy: what a candidate must prove before it serves. A gate that fails refuses it; one that is inconclusive (no evidence, or the 95 % interval straddles the limit) holds it for a person, who may let it through by spec.review.approvedDigest; one that cannot be measured is tried again. Something that served before is not asked again.
   *
   * Items: One bound on one metric. Exactly one of max, min and maxRegression.
   */
  gates?: {
    /**
     * evalLoss (held-out loss in nats per label token), humanLoss, or a name in status.checkpoints[].metrics of the run; operator/api/metrics.ts lists them.
     */
    metric: string
    /**
     * The metric must not be above this decimal.
     */
    max?: string
    /**
     * The metric must not be below this decimal.
     */
    min?: string
    /**
     * The metric must not be worse than that of `against` by more than this decimal, in whichever direction the metric is worse; a negative one demands an improvement.
     */
    maxRegression?: string
    /**
     * Baseline is the untouched base measured by the same run; Active is what serves now.
     */
    against?: 'Baseline' | 'Active'
    /**
     * Enforce keeps a candidate from serving; Warn only records the result, as a dry run of the gate.
     */
    enforcement: 'Enforce' | 'Warn'
  }[]
  /**
   * A person reads the samples and approves a digest, or rejects it. Approving one digest lets no other through. An approval also lets through what gates could not tell, never what failed one. Something that served before is not asked again, but a rejected digest never serves.
   */
  review?: {
    /**
     * Whether a candidate that passed its gates waits for approvedDigest.
     */
    required: boolean
    /**
     * The digest that was approved; status.candidate.digest shows what waits.
     */
    approvedDigest?: string
    /**
     * The digest that must not serve.
     */
    rejectedDigest?: string
    /**
     * Who approved. The chart's ValidatingAdmissionPolicy holds it to the requesting user.
     */
    approvedBy?: string
    /**
     * How long a candidate waits for a person; then it is refused until the spec changes. For ever when absent.
     */
    deadlineSeconds?: number
  }
  /**
   * When what has just been released goes back by itself. Only status changes; spec stays what Git says, and the release is Stalled with reason RolledBack until it changes. What served before and is asked for again is not watched, unless it was rolled back.
   */
  rollback: {
    /**
     * Automatic goes back; Manual only says that it regressed.
     */
    mode: 'Automatic' | 'Manual'
    /**
     * Previous is what served before, the untouched base when nothing did; Base is the untouched base.
     */
    to: 'Previous' | 'Base'
    /**
     * How long it is watched after every pod has it.
     */
    windowSeconds: number
    /**
     * It goes back when one pod has restarted more often than this since it was given the adapter. An adapter that a pod cannot load goes back at once.
     */
    maxRestarts: number
    /**
     * It goes back when more than this percentage of the requests of the last minute failed on the server's side; not asked when absent.
     */
    maxErrorPercent?: string
    /**
     * It goes back when, in a pod, 95 % of the requests of the last minute do not have their first token within this many seconds; not asked when absent.
     */
    maxFirstTokenSeconds?: string
    /**
     * Fewer requests within the last minute tell nothing.
     */
    minRequests: number
  }
  /**
   * Steps on the way to a new candidate: in each, a share of the requests is answered by it in every pod, beside what serves. One that regresses by the limits of spec.rollback is refused and takes no more requests. At once, without steps: when nothing serves yet, to what served before, to another base, which takes pods of its own, and away from what was rejected.
   */
  strategy?: {
    /**
     * In their order; after the last one every request goes to the candidate.
     *
     * Items: One step.
     */
    steps: {
      /**
       * Of every hundred requests of a pod, those that the candidate answers.
       */
      percent: number
      /**
       * How long it lasts after every pod has it.
       */
      pauseSeconds: number
    }[]
  }
  /**
   * Copies what serves to an OCI registry or to S3, by a Job, after it has become active: each digest once, named by its digest. The condition Pushed tells how it went; whatever becomes of it, serving goes on.
   */
  push?: {
    /**
     * Adapter is the folder in PEFT's format; Merged the adapter in its base's 16-bit weights, written by the Job where spec.form has not; AdapterGGUF the adapter as the one file that llama.cpp and Ollama read beside a base; MergedGGUF the merged model as one file of 16-bit weights, MergedGGUFQ8 of 8-bit ones (Q8_0).
     */
    artifact: 'Adapter' | 'Merged' | 'AdapterGGUF' | 'MergedGGUF' | 'MergedGGUFQ8'
    /**
     * A repository of any registry that keeps container images.
     */
    registry?: {
      /**
       * host[:port]/repository in lower case, without tag or digest.
       */
      repository: string
      /**
       * true speaks http in place of https.
       */
      plainHttp: boolean
      /**
       * A Secret of this namespace with a dockerconfigjson, such as kubectl create secret docker-registry makes; without it the registry must take what nobody signed. The Job waits until the Secret is there.
       */
      secretRef?: {
        /**
         * Name of the Secret.
         */
        name: string
        /**
         * Key of the dockerconfigjson in it.
         */
        key: string
      }
    }
    /**
     * A bucket of Amazon's S3 or of a server that speaks its protocol. <prefix>/adapters/<digest>/ (or merged/, gguf/) is written file by file, manifest.json last.
     */
    s3?: {
      /**
       * Name of the bucket, which is there already.
       */
      bucket: string
      /**
       * Folder in it, without slashes at its ends; its root when absent.
       */
      prefix?: string
      /**
       * Region of the bucket.
       */
      region: string
      /**
       * Base URL of the server, which is addressed with the bucket in the path; Amazon's of the region when absent.
       */
      endpoint?: string
      /**
       * A Secret of this namespace with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN where the credentials have one. The Job waits until it is there.
       */
      secretRef: {
        /**
         * Name of the Secret.
         */
        name: string
      }
    }
  }
  /**
   * true judges what spec.source asks for and says so in status.verdict, but leaves what serves as it is.
   */
  dryRun?: boolean
  /**
   * The pods that answer requests.
   */
  serving: {
    /**
     * Native, also when absent, computes in this project's own engine. VLLM runs a vLLM in each pod, which adapters are loaded into and requests are sent to under names made of their digests; clients see the same endpoint.
     */
    engine?: 'Native' | 'VLLM'
    /**
     * The vLLM of each pod. spec.pod.resources are those of its container.
     */
    vllm?: {
      /**
       * Image with the command vllm, 0.10 or newer, such as vllm/vllm-openai by tag or digest.
       */
      image: string
      /**
       * Its --max-lora-rank. An adapter of a higher rank is refused before vLLM is asked.
       */
      maxLoraRank: 8 | 16 | 32 | 64 | 128 | 256 | 320 | 512
      /**
       * Further arguments of `vllm serve`, such as --quantization=bitsandbytes or --tensor-parallel-size=2.
       *
       * Items: One argument.
       */
      args?: string[]
    }
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
        /**
         * Value of the label.
         */
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
        /**
         * A quantity such as 500m, 2 or 1.5Gi.
         */
        [k: string]: number | string
      }
      /**
       * Quantities by resource name.
       */
      limits?: {
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
     * Affinity as in a pod's spec; checked by Kubernetes when the Deployment is made.
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
     * Labels added to the pods. Keys of humanizer.dev and app.kubernetes.io/managed-by are the operator's own.
     */
    labels?: {
      /**
       * Value of the label.
       */
      [k: string]: string
    }
  }
  /**
   * The claim that holds models and adapters.
   */
  storage: {
    /**
     * PersistentVolumeClaim of this namespace; the one the run trained on. Never made or deleted by a release; immutable once something serves.
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
     * Merged when it is served written into its base's weights; absent otherwise.
     */
    form?: 'Merged'
    /**
     * The model that it was written into.
     */
    merged?: {
      /**
       * Folder on the claim, merged/<digest hex>.
       */
      path: string
      /**
       * Digest of that folder, as of a base model.
       */
      digest: string
      /**
       * Distance of its logits from those of base and adapter; 0.05 at most.
       */
      logitError?: string
      /**
       * The same distance of the untouched base.
       */
      adapterEffect?: string
    }
    /**
     * spec.review.approvedBy when a person let it through.
     */
    approvedBy?: string
    /**
     * When something else took its place; only in history.
     */
    leftTime?: string
    /**
     * Why it left; only in history.
     */
    leftBecause?: string
    /**
     * It left because a person went back to what had served before; only in history.
     */
    wentBack?: boolean
    /**
     * It was rolled back by itself; asked for again, it is watched as at first.
     */
    regressed?: boolean
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
      /**
       * Half width of the 95 % interval of evalLoss.
       */
      evalLossInterval?: string
      /**
       * What was measured beside the loss. Left out of the oldest entries of history first when the status would grow too large.
       *
       * Items: One figure of the adapter, and the same of the untouched base where that was measured.
       */
      figures?: {
        /**
         * Such as improvement, repetition4 or copyRate.
         */
        name: string
        /**
         * Decimal; absent when only the base was measured.
         */
        value?: string
        /**
         * Lower end of its 95 % interval.
         */
        low?: string
        /**
         * Upper end of its 95 % interval.
         */
        high?: string
        /**
         * The same figure of the untouched base.
         */
        baseline?: string
        /**
         * Lower end of its 95 % interval.
         */
        baselineLow?: string
        /**
         * Upper end of its 95 % interval.
         */
        baselineHigh?: string
      }[]
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
     * Name of its entry in status.prompts; absent when the dataset's prompt is not known.
     */
    prompt?: string
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
     * Merged when it is served written into its base's weights; absent otherwise.
     */
    form?: 'Merged'
    /**
     * The model that it was written into.
     */
    merged?: {
      /**
       * Folder on the claim, merged/<digest hex>.
       */
      path: string
      /**
       * Digest of that folder, as of a base model.
       */
      digest: string
      /**
       * Distance of its logits from those of base and adapter; 0.05 at most.
       */
      logitError?: string
      /**
       * The same distance of the untouched base.
       */
      adapterEffect?: string
    }
    /**
     * spec.review.approvedBy when a person let it through.
     */
    approvedBy?: string
    /**
     * When something else took its place; only in history.
     */
    leftTime?: string
    /**
     * Why it left; only in history.
     */
    leftBecause?: string
    /**
     * It left because a person went back to what had served before; only in history.
     */
    wentBack?: boolean
    /**
     * It was rolled back by itself; asked for again, it is watched as at first.
     */
    regressed?: boolean
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
      /**
       * Half width of the 95 % interval of evalLoss.
       */
      evalLossInterval?: string
      /**
       * What was measured beside the loss. Left out of the oldest entries of history first when the status would grow too large.
       *
       * Items: One figure of the adapter, and the same of the untouched base where that was measured.
       */
      figures?: {
        /**
         * Such as improvement, repetition4 or copyRate.
         */
        name: string
        /**
         * Decimal; absent when only the base was measured.
         */
        value?: string
        /**
         * Lower end of its 95 % interval.
         */
        low?: string
        /**
         * Upper end of its 95 % interval.
         */
        high?: string
        /**
         * The same figure of the untouched base.
         */
        baseline?: string
        /**
         * Lower end of its 95 % interval.
         */
        baselineLow?: string
        /**
         * Upper end of its 95 % interval.
         */
        baselineHigh?: string
      }[]
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
     * Name of its entry in status.prompts; absent when the dataset's prompt is not known.
     */
    prompt?: string
  }
  /**
   * What became of the candidate so far.
   */
  verdict?: {
    /**
     * Merging while a Job writes it into weights; Stepping while it answers a share of the requests; Switching while pods load it; Held for a person, or until evidence can be measured; Refused when a gate or a pod said no, RolledBack when it served and regressed, Regressed when it serves on with spec.rollback.mode Manual, each until the spec changes.
     */
    state: 'Merging' | 'Stepping' | 'Switching' | 'Held' | 'Refused' | 'RolledBack' | 'Regressed'
    /**
     * Hash of the spec (without replicas) and the evidence that the verdict was given for.
     */
    judged: string
    /**
     * Why it is held or was refused.
     */
    reason?: string
    /**
     * The same in words.
     */
    message?: string
    /**
     * Since when it waits for a person; spec.review.deadlineSeconds counts from here.
     */
    heldSinceTime?: string
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
       * The gate as a sentence.
       */
      rule?: string
      /**
       * Passed; Failed (measured and bad); Inconclusive (evidence is missing, or its interval straddles the limit); Error (could not be measured).
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
   * The step of spec.strategy that the candidate is in.
   */
  step?: {
    /**
     * Which one, from 1.
     */
    number: number
    /**
     * How many there are.
     */
    of: number
    /**
     * Share of the requests that it answers.
     */
    percent: number
    /**
     * When every pod had it; absent before.
     */
    sinceTime?: string
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
     * Merged when it is served written into its base's weights; absent otherwise.
     */
    form?: 'Merged'
    /**
     * The model that it was written into.
     */
    merged?: {
      /**
       * Folder on the claim, merged/<digest hex>.
       */
      path: string
      /**
       * Digest of that folder, as of a base model.
       */
      digest: string
      /**
       * Distance of its logits from those of base and adapter; 0.05 at most.
       */
      logitError?: string
      /**
       * The same distance of the untouched base.
       */
      adapterEffect?: string
    }
    /**
     * spec.review.approvedBy when a person let it through.
     */
    approvedBy?: string
    /**
     * When something else took its place; only in history.
     */
    leftTime?: string
    /**
     * Why it left; only in history.
     */
    leftBecause?: string
    /**
     * It left because a person went back to what had served before; only in history.
     */
    wentBack?: boolean
    /**
     * It was rolled back by itself; asked for again, it is watched as at first.
     */
    regressed?: boolean
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
      /**
       * Half width of the 95 % interval of evalLoss.
       */
      evalLossInterval?: string
      /**
       * What was measured beside the loss. Left out of the oldest entries of history first when the status would grow too large.
       *
       * Items: One figure of the adapter, and the same of the untouched base where that was measured.
       */
      figures?: {
        /**
         * Such as improvement, repetition4 or copyRate.
         */
        name: string
        /**
         * Decimal; absent when only the base was measured.
         */
        value?: string
        /**
         * Lower end of its 95 % interval.
         */
        low?: string
        /**
         * Upper end of its 95 % interval.
         */
        high?: string
        /**
         * The same figure of the untouched base.
         */
        baseline?: string
        /**
         * Lower end of its 95 % interval.
         */
        baselineLow?: string
        /**
         * Upper end of its 95 % interval.
         */
        baselineHigh?: string
      }[]
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
     * Name of its entry in status.prompts; absent when the dataset's prompt is not known.
     */
    prompt?: string
  }
  /**
   * The prompts of the datasets that these adapters were trained on, each once, for /v1/rewrite.
   *
   * Items: One prompt.
   */
  prompts?: {
    /**
     * Hash of the others.
     */
    name: string
    /**
     * Kind of the training samples; Identity, Denoise or Paired.
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
  }[]
  /**
   * What has served, newest first, each digest once, with what was measured, who approved it and why it left. Any of them can be asked for again. The oldest go when the status would outgrow 40 KiB.
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
     * Merged when it is served written into its base's weights; absent otherwise.
     */
    form?: 'Merged'
    /**
     * The model that it was written into.
     */
    merged?: {
      /**
       * Folder on the claim, merged/<digest hex>.
       */
      path: string
      /**
       * Digest of that folder, as of a base model.
       */
      digest: string
      /**
       * Distance of its logits from those of base and adapter; 0.05 at most.
       */
      logitError?: string
      /**
       * The same distance of the untouched base.
       */
      adapterEffect?: string
    }
    /**
     * spec.review.approvedBy when a person let it through.
     */
    approvedBy?: string
    /**
     * When something else took its place; only in history.
     */
    leftTime?: string
    /**
     * Why it left; only in history.
     */
    leftBecause?: string
    /**
     * It left because a person went back to what had served before; only in history.
     */
    wentBack?: boolean
    /**
     * It was rolled back by itself; asked for again, it is watched as at first.
     */
    regressed?: boolean
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
      /**
       * Half width of the 95 % interval of evalLoss.
       */
      evalLossInterval?: string
      /**
       * What was measured beside the loss. Left out of the oldest entries of history first when the status would grow too large.
       *
       * Items: One figure of the adapter, and the same of the untouched base where that was measured.
       */
      figures?: {
        /**
         * Such as improvement, repetition4 or copyRate.
         */
        name: string
        /**
         * Decimal; absent when only the base was measured.
         */
        value?: string
        /**
         * Lower end of its 95 % interval.
         */
        low?: string
        /**
         * Upper end of its 95 % interval.
         */
        high?: string
        /**
         * The same figure of the untouched base.
         */
        baseline?: string
        /**
         * Lower end of its 95 % interval.
         */
        baselineLow?: string
        /**
         * Upper end of its 95 % interval.
         */
        baselineHigh?: string
      }[]
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
     * Name of its entry in status.prompts; absent when the dataset's prompt is not known.
     */
    prompt?: string
  }[]
  /**
   * What spec.source.run meant when it was resolved last.
   */
  resolved?: {
    /**
     * Name of the run.
     */
    run: string
    /**
     * uid of the run; empty when it was gone already.
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
       * Merged when it is served written into its base's weights; absent otherwise.
       */
      form?: 'Merged'
      /**
       * The model that it was written into.
       */
      merged?: {
        /**
         * Folder on the claim, merged/<digest hex>.
         */
        path: string
        /**
         * Digest of that folder, as of a base model.
         */
        digest: string
        /**
         * Distance of its logits from those of base and adapter; 0.05 at most.
         */
        logitError?: string
        /**
         * The same distance of the untouched base.
         */
        adapterEffect?: string
      }
      /**
       * spec.review.approvedBy when a person let it through.
       */
      approvedBy?: string
      /**
       * When something else took its place; only in history.
       */
      leftTime?: string
      /**
       * Why it left; only in history.
       */
      leftBecause?: string
      /**
       * It left because a person went back to what had served before; only in history.
       */
      wentBack?: boolean
      /**
       * It was rolled back by itself; asked for again, it is watched as at first.
       */
      regressed?: boolean
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
        /**
         * Half width of the 95 % interval of evalLoss.
         */
        evalLossInterval?: string
        /**
         * What was measured beside the loss. Left out of the oldest entries of history first when the status would grow too large.
         *
         * Items: One figure of the adapter, and the same of the untouched base where that was measured.
         */
        figures?: {
          /**
           * Such as improvement, repetition4 or copyRate.
           */
          name: string
          /**
           * Decimal; absent when only the base was measured.
           */
          value?: string
          /**
           * Lower end of its 95 % interval.
           */
          low?: string
          /**
           * Upper end of its 95 % interval.
           */
          high?: string
          /**
           * The same figure of the untouched base.
           */
          baseline?: string
          /**
           * Lower end of its 95 % interval.
           */
          baselineLow?: string
          /**
           * Upper end of its 95 % interval.
           */
          baselineHigh?: string
        }[]
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
       * Name of its entry in status.prompts; absent when the dataset's prompt is not known.
       */
      prompt?: string
    }
  }
  /**
   * What spec.source.run meant before, once for each run and word; the adapter is in history.
   *
   * Items: One word of one run.
   */
  pins?: {
    /**
     * Name of the run.
     */
    run: string
    /**
     * uid of the run; empty when it was gone already.
     */
    runUID: string
    /**
     * The word that was resolved, Best, Latest or checkpoint-N.
     */
    checkpoint: string
    /**
     * Digest of the adapter that it meant.
     */
    digest: string
  }[]
  /**
   * What is watched for a regression; spec.rollback.windowSeconds long.
   */
  watch?: {
    /**
     * What it is.
     */
    digest: string
    /**
     * When every pod had it; before, when the pods were told.
     */
    sinceTime: string
    /**
     * Restarts that pods had before they were told; none when absent.
     *
     * Items: One pod.
     */
    restarts?: {
      /**
       * uid of the pod.
       */
      uid: string
      /**
       * Restarts of its container.
       */
      count: number
    }[]
  }
  /**
   * The newest rollback drill. A new value of the annotation humanizer.dev/drillRequestedAt asks for one; what serves then gives way to what served before and comes back, while requests go on.
   */
  drill?: {
    /**
     * Value of the annotation that asked for it.
     */
    requestedAt: string
    /**
     * There while pods load what served before, Back while they return; Passed, or Failed when a request was lost or a pod could not follow; Refused when there was nothing to drill.
     */
    state: 'There' | 'Back' | 'Passed' | 'Failed' | 'Refused'
    /**
     * How it went, or why it did not.
     */
    message?: string
    /**
     * Digest of what serves; empty is the base.
     */
    from?: string
    /**
     * Digest of what served before; empty is the base.
     */
    to?: string
    /**
     * Number of the switch to what served before, while the drill lasts.
     */
    generation?: number
    /**
     * When it began.
     */
    startedTime: string
    /**
     * When the way there or back began, while the drill lasts.
     */
    legTime?: string
    /**
     * Seconds until every pod answered with what served before.
     */
    secondsThere?: string
    /**
     * Seconds until every pod answered again with what serves.
     */
    secondsBack?: string
    /**
     * Requests of everybody that the pods answered meanwhile; the operator sends some too.
     */
    answered?: number
    /**
     * Requests that the pods failed, and those of the operator that no pod answered.
     */
    lost?: number
    /**
     * Requests that the pods had counted when it began, while the drill lasts.
     *
     * Items: One pod.
     */
    pods?: {
      /**
       * uid of the pod.
       */
      uid: string
      /**
       * Requests answered.
       */
      answered: number
      /**
       * Requests lost.
       */
      lost: number
    }[]
  }
  /**
   * The experiment checklist of what waits, or else of what serves: each item done only when its evidence is there.
   */
  checklist?: {
    /**
     * Digest of the adapter that it is about.
     */
    digest: string
    /**
     * ObjectiveDefined, DataLicensesVerified, SplitCreated, DedupReportReviewed, BaselineCaptured, ConfigurationDocumented, AdapterVerified and EvaluatedAfterTraining are what its run can show; SamplesReviewed, DeploymentDecided and RollbackTested what this release can.
     *
     * Items: One item.
     */
    items: {
      /**
       * Name of the item.
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
  }
  /**
   * The newest attempt to merge a candidate.
   */
  merge?: {
    /**
     * The adapter.
     */
    digest: string
    /**
     * Number of the attempt; its Job is <name>-merge-<digest8>-<number>.
     */
    number: number
    /**
     * Failures in a row.
     */
    failures: number
    /**
     * When it ended; absent while it is under way.
     */
    finishTime?: string
    /**
     * Why it ended without a merged model.
     */
    message?: string
  }
  /**
   * The newest attempt to push what serves.
   */
  push?: {
    /**
     * The adapter.
     */
    digest: string
    /**
     * Hash of the spec.push that it follows.
     */
    to: string
    /**
     * Number of the attempt; its Job is <name>-push-<digest8>-<number>.
     */
    number: number
    /**
     * Failures in a row.
     */
    failures: number
    /**
     * When it ended; absent while it is under way.
     */
    finishTime?: string
    /**
     * Why the last one failed, as job_result.proto has it.
     */
    reason?: string
    /**
     * The same in words.
     */
    message?: string
  }
  /**
   * What was pushed, newest first.
   *
   * Items: One adapter at one destination.
   */
  pushed?: {
    /**
     * The adapter.
     */
    digest: string
    /**
     * What of it, as spec.push.artifact.
     */
    artifact: string
    /**
     * Where to.
     */
    destination: string
    /**
     * What to pull, by the digest of the pushed bytes.
     */
    reference: string
    /**
     * When it was all there.
     */
    time: string
  }[]
  /**
   * Highest number of a switch that was ever given out.
   */
  switchGeneration?: number
  /**
   * When a pod last knew a higher number of a switch than this status, as after a restore; switchGeneration was raised above it.
   */
  repairTime?: string
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
     * Restarts of its container, and of vLLM's.
     */
    restarts?: number
    /**
     * What it says it has loaded, or last said before it fell silent; empty is the base; absent when it has not said.
     */
    digest?: string
    /**
     * Number of the switch that it loaded that for.
     */
    generation?: number
    /**
     * When it finished loading that.
     */
    loadedTime?: string
  }[]
  /**
   * What spec.gates asks of a candidate, in a sentence.
   */
  policy?: string
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
