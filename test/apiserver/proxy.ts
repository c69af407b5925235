import { connect, createServer, type Server, type Socket } from 'node:net'

/**
 * A TCP proxy on 127.0.0.1 that can do to a connection what networks do.
 * pass(): forwards. refuse(): closes what is open and what comes. swallow(): keeps connections open and carries nothing on
 * them, in either direction. forget(): swallows on what is open, passes what comes.
 */
export class TcpProxy implements AsyncDisposable {
  readonly #server: Server
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  #mode: 'pass' | 'refuse' | 'swallow' = 'pass'
  port = 0
  /** Connections accepted so far. */
  accepted = 0

  private constructor(targetPort: number) {
    this.#server = createServer((inner) => this.#accept(inner, connect(targetPort, '127.0.0.1')))
  }

  static async to(targetPort: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort)
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    proxy.port = (proxy.#server.address() as { port: number }).port
    return proxy
  }

  pass(): void {
    if (this.#mode === 'swallow') this.#closeAll() // what was swallowed cannot be made up for
    this.#mode = 'pass'
  }

  refuse(): void {
    this.#mode = 'refuse'
    this.#closeAll()
  }

  swallow(): void {
    this.#mode = 'swallow'
    for (const pair of this.#pairs) silence(pair)
  }

  /** As a NAT does that lost its state. */
  forget(): void {
    for (const pair of this.#pairs) silence(pair)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closeAll()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #accept(inner: Socket, outer: Socket): void {
    this.accepted++
    const pair = [inner, outer] as const
    this.#pairs.add(pair)
    for (const socket of pair) {
      socket.on('error', () => undefined)
      socket.on('close', () => {
        this.#pairs.delete(pair)
        for (const other of pair) other.destroy()
      })
    }
    if (this.#mode === 'refuse') inner.destroy()
    else if (this.#mode === 'swallow') silence(pair)
    else {
      inner.pipe(outer)
      outer.pipe(inner)
    }
  }

  #closeAll(): void {
    for (const [inner, outer] of this.#pairs) {
      inner.destroy()
      outer.destroy()
    }
  }
}

function silence([inner, outer]: readonly [Socket, Socket]): void {
  inner.unpipe(outer)
  outer.unpipe(inner)
  inner.resume() // read and drop, so that nothing pushes back
  outer.resume()
}
