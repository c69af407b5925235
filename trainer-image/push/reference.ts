import { JobFailure } from '../job/failure.ts'

/** Where an artifact goes: host[:port]/repository, as docker writes it. */
export interface Target {
  readonly host: string
  readonly repository: string
}

/** A tag or digest would name what is pushed: the digest of the content does. */
export function parseTarget(text: string): Target {
  const match =
    /^([A-Za-z0-9.-]+(?::[0-9]+)?)\/([a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)$/.exec(
      text,
    )
  if (!match)
    throw new JobFailure(
      'ConfigurationInvalid',
      `--to is "${text}"; expected host[:port]/repository in lower case, without tag or digest`,
    )
  return { host: match[1]!, repository: match[2]! }
}
