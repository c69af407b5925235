import { createPublicKey } from 'node:crypto'

/** All that the operator is told from outside. Read from the environment once, in main.ts; frozen. */
export interface Settings {
  /** Namespace the operator runs in: its Lease lives there. POD_NAMESPACE. */
  readonly namespace: string
  /** Identity of this replica in the Lease and in Events. POD_NAME. */
  readonly podName: string
  /** Image of every Job and serving pod. TRAINER_IMAGE. */
  readonly trainerImage: string
  /** TRAINER_IMAGE_PULL_POLICY. */
  readonly trainerImagePullPolicy: 'Always' | 'IfNotPresent' | 'Never'
  /** Base address of a Hugging Face mirror for pods that download; absent: the Hub itself. HF_ENDPOINT. */
  readonly hubEndpoint?: string
  /** How the claim of a namespace is made when it is not there yet. */
  readonly storage: {
    /** Empty: the cluster's default class. STORAGE_CLASS_NAME. */
    readonly className: string
    /** A Kubernetes quantity, e.g. 50Gi. STORAGE_SIZE. */
    readonly size: string
    /** STORAGE_ACCESS_MODE. */
    readonly accessMode: 'ReadWriteMany' | 'ReadWriteOnce'
  }
  /** SPKI PEM of the Ed25519 key; goes into every pod's configuration. Derived from the private key. */
  readonly publicKeyPem: string
  /** PKCS #8 PEM. Never leaves this process. The content of SIGNING_KEY_FILE. */
  readonly privateKeyPem: string
  /** Name of the Lease; replicas of one installation share it, installations do not. LEASE_NAME. */
  readonly leaseName: string
  /** Leader election, seconds: how long a lease is good (LEASE_DURATION_SECONDS), */
  readonly leaseDurationSeconds: number
  /** when a leader that cannot renew stops acting (RENEW_DEADLINE_SECONDS), */
  readonly renewDeadlineSeconds: number
  /** and how often it tries (RETRY_PERIOD_SECONDS). */
  readonly retryPeriodSeconds: number
  /** Reconciles at once, per controller. WORKERS. */
  readonly workers: number
  /** A reconcile that takes longer, in seconds, gives its worker free. RECONCILE_TIMEOUT_SECONDS. */
  readonly reconcileTimeoutSeconds: number
  /** Namespaces to watch; empty: all. WATCH_NAMESPACES, comma-separated. */
  readonly watchNamespaces: readonly string[]
  /** METRICS_PORT; 0 is any free port. */
  readonly metricsPort: number
  /** HEALTH_PORT; 0 is any free port. */
  readonly healthPort: number
  /** One writing request to the API server, in milliseconds; reads may take five times as long. API_TIMEOUT_MS. */
  readonly apiTimeoutMs: number
  /** One call to a trainer or serving pod, in milliseconds. CALL_TIMEOUT_MS. */
  readonly callTimeoutMs: number
  /** LOG_LEVEL. */
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
  /** Test switch: the process ends with code 86 right after its n-th mutating call to the API server (1 is the first). FAULT_AFTER_MUTATION. */
  readonly faultAfterMutation?: number
}

type Environment = Readonly<Record<string, string | undefined>>

/** Throws an Error that names every variable that is wrong, its value and what was expected. */
export function settingsFrom(env: Environment, readFile: (path: string) => string): Settings {
  const wrong: string[] = []
  const text = (name: string, fallback?: string): string => {
    const value = env[name] || fallback
    if (value === undefined) wrong.push(`${name}: not set`)
    return value ?? ''
  }
  const choice = <T extends string>(name: string, choices: readonly T[], fallback: T): T => {
    const value = text(name, fallback)
    if (!choices.includes(value as T)) wrong.push(`${name}: wanted one of ${choices.join(', ')}, got ${value}`)
    return value as T
  }
  const whole = (name: string, fallback: number, least: number): number => {
    const value = Number(text(name, String(fallback)))
    if (!Number.isInteger(value) || value < least)
      wrong.push(`${name}: wanted an integer >= ${least}, got ${env[name]}`)
    return value
  }
  const keys = keysFrom(text('SIGNING_KEY_FILE'), readFile, wrong)
  const settings: Settings = {
    namespace: text('POD_NAMESPACE'),
    podName: text('POD_NAME'),
    trainerImage: text('TRAINER_IMAGE'),
    trainerImagePullPolicy: choice('TRAINER_IMAGE_PULL_POLICY', ['Always', 'IfNotPresent', 'Never'], 'IfNotPresent'),
    ...(env.HF_ENDPOINT && { hubEndpoint: env.HF_ENDPOINT }),
    storage: Object.freeze({
      className: env.STORAGE_CLASS_NAME ?? '',
      size: text('STORAGE_SIZE', '50Gi'),
      accessMode: choice('STORAGE_ACCESS_MODE', ['ReadWriteMany', 'ReadWriteOnce'], 'ReadWriteMany'),
    }),
    ...keys,
    leaseName: text('LEASE_NAME', 'humanizer-operator'),
    leaseDurationSeconds: whole('LEASE_DURATION_SECONDS', 15, 1),
    renewDeadlineSeconds: whole('RENEW_DEADLINE_SECONDS', 10, 1),
    retryPeriodSeconds: whole('RETRY_PERIOD_SECONDS', 2, 1),
    workers: whole('WORKERS', 4, 1),
    reconcileTimeoutSeconds: whole('RECONCILE_TIMEOUT_SECONDS', 120, 1),
    watchNamespaces: (env.WATCH_NAMESPACES ?? '').split(',').filter((name) => name !== ''),
    metricsPort: whole('METRICS_PORT', 8080, 0),
    healthPort: whole('HEALTH_PORT', 8081, 0),
    apiTimeoutMs: whole('API_TIMEOUT_MS', 4000, 1),
    callTimeoutMs: whole('CALL_TIMEOUT_MS', 5000, 1),
    logLevel: choice('LOG_LEVEL', ['debug', 'info', 'warn', 'error'], 'info'),
    ...(env.FAULT_AFTER_MUTATION && { faultAfterMutation: whole('FAULT_AFTER_MUTATION', 1, 1) }),
  }
  const { leaseDurationSeconds, renewDeadlineSeconds, retryPeriodSeconds, apiTimeoutMs } = settings
  if (renewDeadlineSeconds * 1000 + apiTimeoutMs >= leaseDurationSeconds * 1000)
    wrong.push(
      `RENEW_DEADLINE_SECONDS + API_TIMEOUT_MS: wanted less than LEASE_DURATION_SECONDS (${leaseDurationSeconds} s), ` +
        `got ${renewDeadlineSeconds} s + ${apiTimeoutMs} ms: a deposed leader's last write could meet the next leader`,
    )
  if (retryPeriodSeconds >= renewDeadlineSeconds)
    wrong.push(`RETRY_PERIOD_SECONDS: wanted less than ${renewDeadlineSeconds}, got ${retryPeriodSeconds}`)
  if (wrong.length > 0) throw new Error(`settings: ${wrong.join('; ')}`)
  return Object.freeze(settings)
}

function keysFrom(file: string, readFile: (path: string) => string, wrong: string[]) {
  let privateKeyPem = ''
  let publicKeyPem = ''
  try {
    if (file === '') return { privateKeyPem, publicKeyPem }
    privateKeyPem = readFile(file)
    const key = createPublicKey(privateKeyPem)
    if (key.asymmetricKeyType !== 'ed25519')
      wrong.push(`SIGNING_KEY_FILE: wanted an Ed25519 key in ${file}, got ${key.asymmetricKeyType}`)
    publicKeyPem = key.export({ type: 'spki', format: 'pem' }) as string
  } catch (error) {
    wrong.push(`SIGNING_KEY_FILE: wanted an Ed25519 private key (PKCS #8 PEM) in ${file}: ${(error as Error).message}`)
  }
  return { privateKeyPem, publicKeyPem }
}
