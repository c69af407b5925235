import { Agent, type RequestInit, type Response, fetch as undiciFetch } from 'undici'

/** Not Node 24's own, which ends the process when a server closes while the body waits to be read: nodejs/undici#5360. */
const dispatcher = new Agent()

/** fetch, for every call that this image makes by HTTP. */
export const fetch = (url: string | URL, init: RequestInit = {}): Promise<Response> =>
  undiciFetch(url, { ...init, dispatcher })
