import type { ServerResponse } from 'node:http'

/** Server-sent events as OpenAI writes them: one JSON object each, then "[DONE]". */
export interface EventStream {
  send(event: object): void
  end(): void
}

/** The status line goes out with the first event, so that what fails before it can still be a proper error. */
export function eventStream(response: ServerResponse): EventStream {
  const begin = (): void => {
    if (response.headersSent) return
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
    })
  }
  return {
    send(event) {
      begin()
      response.write(`data: ${JSON.stringify(event)}\n\n`)
    },
    end() {
      begin()
      response.end('data: [DONE]\n\n')
    },
  }
}
