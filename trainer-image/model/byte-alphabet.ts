/** GPT-2's alphabet of 256 printable characters, one for each byte, in which byte-level tokenizers write their tokens. */

const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174

/** The character of each byte. */
export const characterOfByte: readonly string[] = (() => {
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++))
})()

const byteOfCharacter = new Map(characterOfByte.map((character, byte) => [character, byte]))

/** The bytes a token stands for, or undefined when a character of it is not of the alphabet. */
export function bytesOfToken(token: string): Uint8Array | undefined {
  const bytes: number[] = []
  for (const character of token) {
    const byte = byteOfCharacter.get(character)
    if (byte === undefined) return undefined
    bytes.push(byte)
  }
  return Uint8Array.from(bytes)
}
