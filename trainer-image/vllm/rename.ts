/** The name that the client asked for, in place of vLLM's own, in a JSON answer or in every event of a stream. */
export async function* renamed(
  pieces: AsyncIterable<Uint8Array>,
  contentType: string,
  model: string,
): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  const isStream = contentType.startsWith('text/event-stream')
  let rest = ''
  for await (const piece of pieces) {
    rest += decoder.decode(piece, { stream: true })
    if (!isStream) continue
    const end = rest.lastIndexOf('\n') + 1
    if (end > 0)
      yield rest.slice(0, end).replaceAll(/^data: (\{.*\})$/gm, (_, json: string) => `data: ${withModel(json, model)}`)
    rest = rest.slice(end)
  }
  yield isStream ? rest : withModel(rest, model)
}

function withModel(text: string, model: string): string {
  try {
    const value = JSON.parse(text) as Record<string, unknown>
    return typeof value.model === 'string' ? JSON.stringify({ ...value, model }) : text
  } catch {
    return text // not ours to repair
  }
}
