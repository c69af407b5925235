/** metav1.Status, the part we read. */
interface Status {
  readonly message?: string
  readonly reason?: string
  readonly details?: { readonly retryAfterSeconds?: number }
}

/** A request that the API server refused or that did not reach it. `code` is the HTTP status; 0: no answer. */
export class ApiError extends Error {
  override readonly name: string = 'ApiError'
  readonly code: number

  constructor(code: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** 409: somebody wrote the object since we read it, or the uid is another one. Read again and decide again. */
export class Conflict extends ApiError {
  override readonly name = 'Conflict'
}

/** 409 AlreadyExists. */
export class AlreadyExists extends ApiError {
  override readonly name = 'AlreadyExists'
}

export class NotFound extends ApiError {
  override readonly name = 'NotFound'
}

/** 401 or 403: missing permissions, an admission's refusal, or a quota that is used up. */
export class Forbidden extends ApiError {
  override readonly name = 'Forbidden'
}

/** 400, 413, 415, 422, and 500 for a field that does not exist: the object itself is refused; sending it again will not help. */
export class Invalid extends ApiError {
  override readonly name = 'Invalid'
}

/** 410: a list's continue token or a watch's resourceVersion is too old. */
export class Gone extends ApiError {
  override readonly name = 'Gone'
}

/** 429, 5xx, no connection or no answer in time. A mutating call may have been carried out all the same. */
export class Unavailable extends ApiError {
  override readonly name = 'Unavailable'
}

/** A mutating call was not sent, because this replica does not lead (any more). */
export class NotLeading extends Error {
  override readonly name = 'NotLeading'
}

/** `what` names the request, e.g. `POST /apis/batch/v1/namespaces/a/jobs`. */
export function errorFrom(code: number, body: string, what: string): ApiError {
  const status = parse(body)
  const message = `${what}: ${code} ${status.message ?? body.slice(0, 200)}`
  switch (code) {
    case 400:
    case 413:
    case 415:
    case 422:
      return new Invalid(code, message)
    case 401:
    case 403:
      return new Forbidden(code, message)
    case 404:
      return new NotFound(code, message)
    case 409:
      return status.reason === 'AlreadyExists' ? new AlreadyExists(code, message) : new Conflict(code, message)
    case 410:
      return new Gone(code, message)
    case 500:
      // Server-side apply of a field that the kind does not have is answered so; sending it again will not help.
      return /failed to create typed patch object/.test(message)
        ? new Invalid(code, message)
        : new Unavailable(code, message)
    default:
      return code === 429 || code >= 500 ? new Unavailable(code, message) : new ApiError(code, message)
  }
}

function parse(body: string): Status {
  try {
    return JSON.parse(body) as Status
  } catch {
    return {} // a proxy's page, or nothing
  }
}
