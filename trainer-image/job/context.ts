import type { Logger } from 'pino'

/** What main.ts hands to every command; nothing else in the image reads the environment or the command line. */
export interface JobContext {
  /** Root of the namespace's claim; every path of a configuration is relative to it. */
  readonly dataDir: string
  /** Aborts on SIGTERM. */
  readonly signal: AbortSignal
  readonly log: Logger
  readonly podUid: string
  readonly podName: string
  /** File the kubelet reads the result from. */
  readonly terminationLog: string
  /** Folder that outlives the container but not the pod; `serve` remembers there what it was told. */
  readonly stateDir: string
  /** desired.json of `serve`, mounted from its own ConfigMap. */
  readonly desiredFile: string
  /** Address that `serve` listens on; all when undefined. */
  readonly host?: string | undefined
  /** Of `prepare`; as many as the process may use when undefined. */
  readonly threads?: number | undefined
  /** Base URL of the Hugging Face Hub, without a slash at its end. */
  readonly hubEndpoint: string
}
