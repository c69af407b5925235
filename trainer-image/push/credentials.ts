import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { JobFailure } from '../job/failure.ts'

interface DockerConfig {
  readonly auths?: Readonly<
    Record<string, { readonly auth?: string; readonly username?: string; readonly password?: string }>
  >
}

/** "Basic …" of a host in a dockerconfigjson (a Secret's .dockerconfigjson, or ~/.docker/config.json; - is the standard input); undefined when it has none. */
export async function basicFor(host: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined
  let config: DockerConfig
  try {
    config = JSON.parse(file === '-' ? await text(process.stdin) : await readFile(file, 'utf8')) as DockerConfig
  } catch (error) {
    throw new JobFailure(
      'ConfigurationInvalid',
      `--auth ${file}: ${(error as Error).message}; expected a dockerconfigjson`,
    )
  }
  const found = config.auths?.[host] ?? config.auths?.[`https://${host}`]
  if (!found) return undefined
  const { auth, username, password } = found
  return `Basic ${auth ?? Buffer.from(`${username}:${password}`).toString('base64')}`
}
