// Generated from crds/humanizerdataset.yaml by operator/api/generate.ts. Do not edit.
import type { KubeObject } from '../../kube/cluster.ts'

/** Which human-written text to train on, how it is cleaned, deduplicated and split. Prepared once per content, then read by runs. */
export interface HumanizerDataset extends KubeObject {
  apiVersion: 'humanizer.dev/v1alpha1'
  kind: 'HumanizerDataset'
  spec: HumanizerDatasetSpec
  status?: HumanizerDatasetStatus
}

/**
 * What is wanted.
 */
export interface HumanizerDatasetSpec {
  /**
   * Where text comes from.
   */
  sources: {
    /**
     * Name of the source in status, report and rows.
     */
    name: string
    /**
     * A dataset repository on the Hugging Face Hub.
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
       * Glob patterns of the files to read. Absent means every file of a known format.
       */
      files?: string[]
      /**
       * Secret with an access token. Absent means anonymous.
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
     * A file or folder on a PersistentVolumeClaim, mounted read-only.
     */
    volume?: {
      /**
       * PersistentVolumeClaim in this namespace.
       */
      claimName: string
      /**
       * File or folder, relative to the root of the volume.
       */
      path: string
    }
    /**
     * A file behind an address.
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
    /**
     * A key of a ConfigMap in this namespace.
     */
    configMap?: {
      /**
       * Name of the ConfigMap.
       */
      name: string
      /**
       * Key whose value is the file; its ending tells the format.
       */
      key: string
    }
    /**
     * Format of the files. Absent means by their ending. Of a folder or a repository without files it chooses those of its ending, or all where none has it. JSONL may also be one array of all records.
     */
    format?: 'CSV' | 'JSONL' | 'Parquet' | 'Text'
    /**
     * Column that holds the text. Absent means the known one of a known repository, else "text".
     */
    textColumn?: string
    /**
     * Column that holds the other text of a pair, which format.sample Paired gives as input. Absent means the known one of a known repository, else none; "" means none.
     */
    inputColumn?: string
    /**
     * Rows of this source with the same value in it stay on one side of the split. Absent means the known one of a known repository, else none; "" means none.
     */
    groupColumn?: string
    /**
     * Which rows are human-written. Absent means the known rule of a known repository, else all. What a known repository asks of other columns than column stays; conditions take the place of all of it.
     */
    keep?: {
      /**
       * All rows, or those whose column holds one of the values, or that meet all conditions.
       */
      policy: 'All' | 'Matching'
      /**
       * Column that is looked at.
       */
      column?: string
      /**
       * Values that mark human-written text.
       */
      values?: string[]
      /**
       * What must hold of several columns. The first is about who wrote a row, the others about what was done to it.
       */
      conditions?: {
        /**
         * Column that is looked at.
         */
        column: string
        /**
         * Values of which it must hold one.
         */
        values: string[]
      }[]
    }
    /**
     * SPDX expression under which the text may be used. Absent means that of a known repository, else of its card, else undeclared.
     */
    license?: string
    /**
     * Rows read at most. Absent means all.
     */
    limit?: number
  }[]
  /**
   * Which texts are kept, and what is taken out of them.
   */
  cleaning: {
    /**
     * Shorter texts are dropped: fragments teach nothing.
     */
    minCharacters: number
    /**
     * Longer texts are dropped.
     */
    maxCharacters: number
    /**
     * Texts of fewer words are dropped: metadata, not sentences.
     */
    minWords: number
    /**
     * Take addresses of web pages out of the text.
     */
    removeUrls: boolean
    /**
     * Take e-mail addresses out of the text.
     */
    removeEmails: boolean
    /**
     * ISO 639 codes, such as en, of the languages that are kept; a text of another one, or of none that can be told, is dropped. Absent means that every language is kept, and none is looked for.
     */
    languages?: string[]
  }
  /**
   * Which texts count as the same.
   */
  deduplication: {
    /**
     * Drop texts whose normalised form was seen before.
     */
    exact: boolean
    /**
     * Jaccard similarity of word shingles above which a text is a near copy: "0.8" to "1", or "0", which turns the search off. Pairs are proposed by 32 bands of 8 MinHashes: 99.7 % of those at 0.8 and 99.996 % at 0.85 are found, but only half at 0.62, so a lower threshold would leave near copies behind unseen.
     */
    nearThreshold: string
    /**
     * Words of one shingle.
     */
    shingleWords: number
  }
  /**
   * Evaluation sets, which nothing that is kept may give away. A text that shares a run of words with one of their texts, or nearly repeats one (deduplication.nearThreshold), is dropped and counted.
   */
  decontamination?: {
    /**
     * The evaluation sets. All their rows count, human-written or not, unless keep says otherwise; of a source of pairs both texts. Their names differ from those of spec.sources.
     */
    sources: {
      /**
       * Name of the source in status, report and rows.
       */
      name: string
      /**
       * A dataset repository on the Hugging Face Hub.
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
         * Glob patterns of the files to read. Absent means every file of a known format.
         */
        files?: string[]
        /**
         * Secret with an access token. Absent means anonymous.
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
       * A file or folder on a PersistentVolumeClaim, mounted read-only.
       */
      volume?: {
        /**
         * PersistentVolumeClaim in this namespace.
         */
        claimName: string
        /**
         * File or folder, relative to the root of the volume.
         */
        path: string
      }
      /**
       * A file behind an address.
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
      /**
       * A key of a ConfigMap in this namespace.
       */
      configMap?: {
        /**
         * Name of the ConfigMap.
         */
        name: string
        /**
         * Key whose value is the file; its ending tells the format.
         */
        key: string
      }
      /**
       * Format of the files. Absent means by their ending. Of a folder or a repository without files it chooses those of its ending, or all where none has it. JSONL may also be one array of all records.
       */
      format?: 'CSV' | 'JSONL' | 'Parquet' | 'Text'
      /**
       * Column that holds the text. Absent means the known one of a known repository, else "text".
       */
      textColumn?: string
      /**
       * Column that holds the other text of a pair, which format.sample Paired gives as input. Absent means the known one of a known repository, else none; "" means none.
       */
      inputColumn?: string
      /**
       * Rows of this source with the same value in it stay on one side of the split. Absent means the known one of a known repository, else none; "" means none.
       */
      groupColumn?: string
      /**
       * Which rows are human-written. Absent means the known rule of a known repository, else all. What a known repository asks of other columns than column stays; conditions take the place of all of it.
       */
      keep?: {
        /**
         * All rows, or those whose column holds one of the values, or that meet all conditions.
         */
        policy: 'All' | 'Matching'
        /**
         * Column that is looked at.
         */
        column?: string
        /**
         * Values that mark human-written text.
         */
        values?: string[]
        /**
         * What must hold of several columns. The first is about who wrote a row, the others about what was done to it.
         */
        conditions?: {
          /**
           * Column that is looked at.
           */
          column: string
          /**
           * Values of which it must hold one.
           */
          values: string[]
        }[]
      }
      /**
       * SPDX expression under which the text may be used. Absent means that of a known repository, else of its card, else undeclared.
       */
      license?: string
      /**
       * Rows read at most. Absent means all.
       */
      limit?: number
    }[]
    /**
     * Words of such a run, without case and punctuation; of evaluation texts of 8 words and more that are shorter, all their words. 13 is the convention of GPT-3.
     */
    ngramWords: number
  }
  /**
   * How rows are parted into training and validation. Near copies stay on one side.
   */
  split: {
    /**
     * Share of the rows for training. 100 leaves nothing to validate on.
     */
    trainPercent: number
    /**
     * Seed of the split and of Denoise.
     */
    seed: number
  }
  /**
   * What an example looks like.
   */
  format: {
    /**
     * Identity gives the text itself as the input, as documented; copying is then its optimum. Denoise gives a seeded corruption of the text. Paired gives the other text of the row's pair, and Denoise where a row has none.
     */
    sample: 'Identity' | 'Denoise' | 'Paired'
    /**
     * System prompt of every example.
     */
    systemPrompt: string
    /**
     * User's turn of every example; {text} stands for the input.
     */
    userTemplate: string
    /**
     * Chat template (Jinja, as in tokenizer_config.json) that turns prompts into tokens. Absent means the tokenizer's own; a base without one needs it.
     */
    chatTemplate?: string
  }
  /**
   * Which licences a source may have.
   */
  licensePolicy: {
    /**
     * Refuse sources without a licence. false takes them, unless allowed names some, and the report warns.
     */
    requireDeclared: boolean
    /**
     * Licences that may be used, as the sources declare them; of a source without one nothing is. Empty means any.
     */
    allowed: string[]
  }
  /**
   * Whether a person must have read the report before a run trains on these rows.
   */
  review: {
    /**
     * Runs wait until approvedDigest is status.digest.
     */
    required: boolean
    /**
     * status.digest whose report was read and found good.
     */
    approvedDigest?: string
    /**
     * Who read it.
     */
    approvedBy?: string
  }
  /**
   * What the preparation plans with, such as 2Gi; beyond it data goes to the volume. The rows do not depend on it. The container's limit should be at least as much.
   */
  memory: string
  /**
   * Any text. A preparation that has failed for good is tried again when it changes.
   */
  retryToken?: string
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
     * PersistentVolumeClaim of this namespace. The default one is made when it is not there yet, and never deleted.
     */
    claimName: string
    /**
     * What becomes of the files once this object is deleted. Retain keeps them. Delete lets a later Job of the namespace remove the datasets prepared for it, unless something that is left refers to them.
     */
    reclaimPolicy: 'Retain' | 'Delete'
  }
}

/**
 * What is. Written by the operator alone.
 */
export interface HumanizerDatasetStatus {
  /**
   * metadata.generation that this status speaks of.
   */
  observedGeneration?: number
  /**
   * Ready always; Reconciling and Stalled only while true. In kstatus' terms.
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
   * sha256 of the data-shaping fields that the newest attempt prepares.
   */
  specHash?: string
  /**
   * spec.retryToken that the newest attempts heed.
   */
  retryToken?: string
  /**
   * Attempts for this specHash that failed by themselves, since the last retryToken.
   */
  failures?: number
  /**
   * Newest last.
   */
  attempts?: {
    /**
     * Number of the attempt; its Job is <name>-prepare-<number>.
     */
    number: number
    /**
     * What it prepares.
     */
    specHash: string
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
  }[]
  /**
   * How far the open attempt is, as last heard; absent while none works. Written at most every 10 seconds and at each new stage.
   */
  progress?: {
    /**
     * Reading (the sources are brought here), Cleaning, Deduplicating, Splitting or Writing.
     */
    stage: string
    /**
     * Source that is read. Absent when it is about all of them.
     */
    source?: string
    /**
     * Rows of the source that were read, or of all of them that were compared or written.
     */
    rows: number
    /**
     * Bytes of the sources that were downloaded or read, about.
     */
    bytes: number
    /**
     * Bytes that the sources have. Absent while it is not known.
     */
    totalBytes?: number
    /**
     * Share of the whole preparation, such as 42%.
     */
    percent: string
    /**
     * Time to the end at the pace of this stage, such as 1h32m.
     */
    remaining?: string
    /**
     * When this was heard.
     */
    updateTime: string
  }
  /**
   * sha256 over the newest prepared outputs. Stands until a newer preparation is finished.
   */
  digest?: string
  /**
   * Folder of the outputs, relative to the root of the claim.
   */
  location?: string
  /**
   * specHash that digest was prepared from.
   */
  preparedSpecHash?: string
  /**
   * When the result was seen.
   */
  preparedTime?: string
  /**
   * Prompts that the prepared rows are rendered with.
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
   * Rows of all sources together.
   */
  counts?: {
    /**
     * Rows read.
     */
    read?: number
    /**
     * Dropped as not human-written.
     */
    notHuman?: number
    /**
     * Dropped below minCharacters.
     */
    tooShort?: number
    /**
     * Dropped above maxCharacters.
     */
    tooLong?: number
    /**
     * Dropped below minWords.
     */
    tooFewWords?: number
    /**
     * Dropped as exact copies.
     */
    exactDuplicates?: number
    /**
     * Dropped as near copies.
     */
    nearDuplicates?: number
    /**
     * Rows to train on.
     */
    train?: number
    /**
     * Rows to validate on.
     */
    validation?: number
    /**
     * Dropped as in none of the languages asked for.
     */
    otherLanguage?: number
    /**
     * Dropped as sharing text with an evaluation set.
     */
    contaminated?: number
    /**
     * Copies, exact or near, of a text of another source.
     */
    crossSourceDuplicates?: number
  }
  /**
   * Exact and near copies as a share of the texts that passed cleaning.
   */
  duplicatesPercent?: string
  /**
   * What each source came to.
   */
  sources?: {
    /**
     * Name in spec.sources.
     */
    name: string
    /**
     * Commit or sum that was read.
     */
    revision?: string
    /**
     * Licence that was declared.
     */
    license?: string
    /**
     * Rows of this source.
     */
    counts?: {
      /**
       * Rows read.
       */
      read?: number
      /**
       * Dropped as not human-written.
       */
      notHuman?: number
      /**
       * Dropped below minCharacters.
       */
      tooShort?: number
      /**
       * Dropped above maxCharacters.
       */
      tooLong?: number
      /**
       * Dropped below minWords.
       */
      tooFewWords?: number
      /**
       * Dropped as exact copies.
       */
      exactDuplicates?: number
      /**
       * Dropped as near copies.
       */
      nearDuplicates?: number
      /**
       * Rows to train on.
       */
      train?: number
      /**
       * Rows to validate on.
       */
      validation?: number
      /**
       * Dropped as in none of the languages asked for.
       */
      otherLanguage?: number
      /**
       * Dropped as sharing text with an evaluation set.
       */
      contaminated?: number
      /**
       * Copies, exact or near, of a text of another source.
       */
      crossSourceDuplicates?: number
    }
  }[]
  /**
   * The report in one paragraph.
   */
  summary?: string
}
