/** OpenAI's error object: what every answer outside 2xx carries. */
export interface ErrorBody {
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: string | null
  }
}

/** A request that is answered with an error. Everything else that is thrown is a bug and becomes a 500. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  /** HTTP status. */
  readonly status: number
  readonly type: string
  /** Name of the field at fault. */
  readonly param: string | null
  readonly code: string | null
  /** Sent with it. */
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: number,
    message: string,
    about: { type?: string; param?: string; code?: string; headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(message)
    this.status = status
    this.type = about.type ?? 'invalid_request_error'
    this.param = about.param ?? null
    this.code = about.code ?? null
    this.headers = about.headers ?? {}
  }

  body(): ErrorBody {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } }
  }
}

/** 400: a field, or without a name the body itself, is wrong; the message names it, its value and what was expected. */
export function invalid(param: string, message: string, code = 'invalid_value'): ApiError {
  return new ApiError(400, message, { ...(param !== '' && { param }), code })
}

export function modelNotFound(model: string): ApiError {
  return new ApiError(404, `The model '${model}' does not exist.`, { param: 'model', code: 'model_not_found' })
}

export function contextLengthExceeded(param: string, limit: number, prompt: number, completion: number): ApiError {
  return invalid(
    param,
    `This model's maximum context length is ${limit} tokens. However, you requested at least ${prompt + completion} tokens ` +
      `(${prompt} in the prompt, ${completion} for the completion). Please shorten the prompt or the completion.`,
    'context_length_exceeded',
  )
}

/** Trying again makes sense after a second. */
const trySoon = { 'retry-after': '1' }

export function queueFull(message: string): ApiError {
  return new ApiError(429, `The server is busy: ${message}.`, {
    type: 'rate_limit_error',
    code: 'rate_limit_exceeded',
    headers: trySoon,
  })
}

export function notReady(message: string): ApiError {
  return new ApiError(503, message, { type: 'service_unavailable_error', code: 'not_ready', headers: trySoon })
}

/** The message of a bug stays in the log; the client learns only that there was one. */
export function internal(): ApiError {
  return new ApiError(500, 'The server had an error while processing your request.', {
    type: 'server_error',
    code: 'internal_error',
  })
}
