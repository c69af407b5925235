/** Most characters of a condition's or verdict's message in the CRD. */
export const messageLimit = 1024

/** Most characters of leftBecause in the CRD. */
export const becauseLimit = 256

/** Most characters of a gate's message and of its rule in the CRD. */
export const gateMessageLimit = 256
export const gateRuleLimit = 160

/** Most characters of status.policy in the CRD. */
export const policyLimit = 2048

/** At most `limit` characters, counted as the API server does: by code points. An ellipsis stands for what is left out. */
export function cut(text: string, limit: number): string {
  if (text.length <= limit) return text
  const characters = [...text]
  return characters.length <= limit ? text : `${characters.slice(0, limit - 1).join('')}…`
}

const cameBack = ' was gone back to'

/** Why an adapter left: another took its place, one that had served before or not. */
export const replacedBy = (name: string, isKnown: boolean): string =>
  cut(`${cut(name, becauseLimit - cameBack.length)}${isKnown ? cameBack : ' took its place'}`, becauseLimit)
