import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SharedContent } from '../storage/shared-content.ts'
import { downloadHttp, type HttpDownload } from './http-download.ts'

const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) % 251))
const sha256 = createHash('sha256').update(content).digest('hex')
const gitBlob = createHash('sha1').update(`blob ${content.byteLength}\0`).update(content).digest('hex')
const retry = { attempts: 3, baseMilliseconds: 1, idleMilliseconds: 300 }

type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void
let handler: Handler
let requests: { range: string | undefined; authorization: string | undefined }[] = []
const server = createServer((request, response) => {
  requests.push({ range: request.headers.range, authorization: request.headers.authorization })
  handler(request, response, requests.length)
})
const root = mkdtempSync(join(tmpdir(), 'download-'))
let url = ''
let files = 0
before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`
})
after(() => {
  server.closeAllConnections()
  server.close()
  rmSync(root, { recursive: true })
})

function attempt(serve: Handler, options: Partial<HttpDownload> = {}) {
  handler = serve
  requests = []
  const file = join(root, `file-${files++}`)
  return { file, done: () => downloadHttp({ url, file, signal: new AbortController().signal, retry, ...options }) }
}

/** Answers like a plain file server. */
const whole: Handler = (request, response) => {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? Number.NaN)
  if (Number.isNaN(from)) return void response.end(content)
  if (from >= content.byteLength)
    return void response.writeHead(416, { 'content-range': `bytes */${content.byteLength}` }).end()
  const range = `bytes ${from}-${content.byteLength - 1}/${content.byteLength}`
  response.writeHead(206, { 'content-range': range, 'content-length': content.byteLength - from })
  response.end(content.subarray(from))
}

/** Breaks the connection when what came has been written: bytes that nobody has read yet may get lost with it. */
async function writeAndBreak(response: ServerResponse): Promise<void> {
  const part = `${join(root, `file-${files - 1}`)}.part`
  response.write(content.subarray(0, 100_000))
  while (!existsSync(part) || statSync(part).size < 100_000) await sleep(5)
  response.destroy()
}

/** Says the whole length, sends a part and breaks the connection. */
const broken: Handler = (_, response) => {
  response.writeHead(200, { 'content-length': content.byteLength })
  void writeAndBreak(response)
}
const status =
  (code: number, headers: Record<string, string> = {}): Handler =>
  (_, response) =>
    void response.writeHead(code, headers).end('no')

test('a whole file is written, summed and left without a .part', async () => {
  const { file, done } = attempt(whole, { expected: { sha256 } })
  assert.deepEqual(await done(), { sha256, bytes: content.byteLength })
  assert.deepEqual(readFileSync(file), content)
  assert.equal(existsSync(`${file}.part`), false)
})

test('a file that has another ETag when the download goes on is fetched whole', async () => {
  const other = Buffer.from(content.toReversed())
  const tagged =
    (isHonoured: boolean): Handler =>
    (request, response, count) => {
      if (count === 1) {
        response.writeHead(200, { 'content-length': content.byteLength, etag: '"one"' })
        return void writeAndBreak(response)
      }
      const { range, 'if-range': tag } = request.headers
      if (count === 2) assert.equal(tag, '"one"')
      const isWhole = range === undefined || (isHonoured && tag !== '"two"')
      const body = isWhole ? other : other.subarray(Number(/\d+/.exec(range)?.[0]))
      const place = { 'content-range': `bytes ${other.byteLength - body.byteLength}-299999/300000` }
      response.writeHead(isWhole ? 200 : 206, {
        etag: '"two"',
        'content-length': body.byteLength,
        ...(!isWhole && place),
      })
      response.end(body)
    }
  for (const isHonoured of [true, false]) {
    const { file, done } = attempt(tagged(isHonoured))
    assert.equal((await done()).bytes, other.byteLength)
    assert.deepEqual(readFileSync(file), other)
    assert.equal(existsSync(`${file}.part.etag`), false)
    assert.equal(requests.length, isHonoured ? 2 : 3)
  }
})

test('a broken connection is resumed from the byte where it broke', async () => {
  const { file, done } = attempt((q, r, n) => (n === 1 ? broken : whole)(q, r, n), {
    expected: { gitBlob, bytes: 300_000 },
  })
  await done()
  assert.deepEqual(
    requests.map(({ range }) => range),
    [undefined, 'bytes=100000-'],
  )
  assert.deepEqual(readFileSync(file), content)
})

test('what an earlier process left is continued', async () => {
  const { file, done } = attempt(whole, { expected: { sha256 } })
  writeFileSync(`${file}.part`, content.subarray(0, 1234))
  assert.equal((await done()).sha256, sha256)
  assert.deepEqual(
    requests.map(({ range }) => range),
    ['bytes=1234-'],
  )
})

test('a .part that is already whole needs no more bytes', async () => {
  const { file, done } = attempt(whole, { expected: { sha256 } })
  writeFileSync(`${file}.part`, content)
  assert.equal((await done()).sha256, sha256)
})

test('a .part longer than the file is thrown away', async () => {
  const { file, done } = attempt(whole, { expected: { sha256 } })
  writeFileSync(`${file}.part`, Buffer.concat([content, content]))
  assert.equal((await done()).sha256, sha256)
})

test('a server without ranges starts the file over', async () => {
  const { file, done } = attempt((_, response) => void response.end(content), { expected: { sha256 } })
  writeFileSync(`${file}.part`, Buffer.alloc(500, 'x'))
  assert.equal((await done()).sha256, sha256)
})

/** What Node 24's own fetch dies of, where nobody can catch it: https://github.com/nodejs/undici/issues/5360. */
test('a connection that the server closes while the body waits to be read is no harm', async () => {
  const small = content.subarray(0, 65_536) // has come whole, with the end of the connection, before it is read
  const closing: Handler = ({ socket }) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${small.byteLength}\r\nconnection: close\r\n\r\n`)
    socket.write(small)
    socket.end()
  }
  const cell = new Int32Array(new SharedArrayBuffer(4))
  const { done } = attempt(closing, { onProgress: () => void Atomics.wait(cell, 0, 0, 20) })
  assert.equal((await done()).bytes, small.byteLength)
  assert.equal(requests.length, 1)
})

test('a finished file with the right sum is not fetched again', async () => {
  const { file, done } = attempt(whole, { expected: { sha256 } })
  writeFileSync(file, content)
  await done()
  assert.equal(requests.length, 0)
})

test('a connection that goes silent is given up and resumed', async () => {
  const silent: Handler = (_, response) => {
    response.writeHead(200, { 'content-length': content.byteLength })
    response.write(content.subarray(0, 5000))
  }
  const { done } = attempt((q, r, n) => (n === 1 ? silent : whole)(q, r, n), { expected: { sha256 } })
  assert.equal((await done()).sha256, sha256)
  assert.equal(requests.length, 2)
})

test('a token goes to the server that was named and not to the one it redirects to', async () => {
  const other = createServer((request, response) => {
    requests.push({ range: undefined, authorization: request.headers.authorization })
    response.end(content)
  })
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const location = `http://127.0.0.1:${(other.address() as AddressInfo).port}/`
  const { done } = attempt(status(302, { location }), { bearerToken: 'secret', expected: { sha256 } })
  await done().finally(() => other.close())
  assert.deepEqual(
    requests.map(({ authorization }) => authorization),
    ['Bearer secret', undefined],
  )
})

const failures = [
  { status: 401, reason: 'AccessDenied', requests: 1 },
  { status: 403, reason: 'AccessDenied', requests: 1 },
  { status: 404, reason: 'NotFound', requests: 1 },
  { status: 410, reason: 'NotFound', requests: 1 },
  { status: 400, reason: 'SourceInvalid', requests: 1 },
  { status: 429, reason: 'Unavailable', requests: 3 },
  { status: 503, reason: 'Unavailable', requests: 3 },
]
for (const want of failures)
  test(`an answer of ${want.status} is ${want.reason} after ${want.requests} requests`, async () => {
    const { done } = attempt(status(want.status))
    await assert.rejects(done, (error: Error & { reason: string }) => {
      assert.equal(error.reason, want.reason)
      assert.match(error.message, new RegExp(`/file.*${want.status}`))
      return true
    })
    assert.equal(requests.length, want.requests)
  })

/** With a base of 1 ms nobody waits for so long by himself. */
const patience = [
  { what: 'Retry-After in seconds', headers: () => ({ 'retry-after': '1' }), milliseconds: 1000 },
  {
    what: 'Retry-After as a date, which has no fractions',
    headers: () => ({ 'retry-after': new Date(Date.now() + 2000).toUTCString() }),
    milliseconds: 1000,
  },
  { what: "the Hub's RateLimit", headers: () => ({ ratelimit: '"resolvers";r=0;t=1' }), milliseconds: 1000 },
]
for (const { what, headers, milliseconds } of patience)
  test(`a server that asks for patience by ${what} gets it`, async () => {
    const times: number[] = []
    const { done } = attempt((q, r, n) => {
      times.push(performance.now())
      return (n === 1 ? status(429, headers()) : whole)(q, r, n)
    })
    await done()
    // A timer may ring a millisecond early.
    assert.ok(times[1]! - times[0]! >= milliseconds - 5, `${times[1]! - times[0]!} ms`)
  })

test('a server that fails in the middle of its rate window is asked again at once', async () => {
  const began = performance.now()
  const { done } = attempt((q, r, n) =>
    (n === 1 ? status(502, { ratelimit: '"resolvers";r=2999;t=55' }) : whole)(q, r, n),
  )
  await done()
  assert.ok(performance.now() - began < 30_000, 'the window was waited for')
})

test('the query of an address, which may be a signature, is in no message', async () => {
  const signed = `${url}?X-Signature=secret`
  for (const serve of [
    status(403),
    status(503),
    (_: unknown, response: ServerResponse) => void response.end('other'),
  ]) {
    const { done } = attempt(serve, { url: signed, expected: { sha256 } })
    await assert.rejects(done, (error: Error) => error.message.includes('/file') && !error.message.includes('secret'))
  }
  const { done } = attempt(whole, { url: 'http://127.0.0.1:1/file?X-Signature=secret' })
  await assert.rejects(done, (error: Error) => error.message.includes('/file') && !error.message.includes('secret'))
})

test('wrong bytes are SourceInvalid, name both sums and are not kept', async () => {
  const { file, done } = attempt((_, response) => void response.end('other'), { expected: { sha256 } })
  await assert.rejects(done, { reason: 'SourceInvalid', message: new RegExp(`expected ${sha256}`) })
  assert.equal(existsSync(file) || existsSync(`${file}.part`), false)
})

test('a host that refuses connections is Unavailable', async () => {
  const { done } = attempt(whole, { url: 'http://127.0.0.1:1/file' })
  await assert.rejects(done, { reason: 'Unavailable' })
})

test('an abort ends the waiting at once and keeps the .part', async () => {
  const stop = new AbortController()
  const { file, done } = attempt(broken, { signal: stop.signal, retry: { ...retry, baseMilliseconds: 60_000 } })
  const part = () => statSync(`${file}.part`, { throwIfNoEntry: false })?.size ?? 0
  const aborting = setInterval(() => part() === 100_000 && stop.abort(new Error('SIGTERM')), 20)
  await assert.rejects(done, { message: /SIGTERM|abort/ }).finally(() => clearInterval(aborting))
  assert.equal(readFileSync(`${file}.part`).byteLength, 100_000)
})

test('what an earlier process left torn is thrown away once the sum tells', async () => {
  const { file, done } = attempt(whole, { expected: { sha256 } })
  writeFileSync(`${file}.part`, Buffer.alloc(1234, 'x'))
  assert.equal((await done()).sha256, sha256)
  assert.deepEqual(
    requests.map(({ range }) => range),
    ['bytes=1234-', undefined],
  )
})

test('content that another download brought is taken, verified, and left for the next', async () => {
  const folder = mkdtempSync(join(root, 'shared-'))
  const options = { expected: { sha256 }, shared: new SharedContent(folder) }
  await attempt(whole, options).done()
  const second = attempt(whole, options)
  assert.equal((await second.done()).bytes, content.byteLength)
  assert.deepEqual([requests.length, readFileSync(second.file)], [0, content])
  const kept = join(folder, `sha256-${sha256}`, 'content')
  assert.equal(statSync(kept).ino, statSync(second.file).ino)

  writeFileSync(kept, 'damaged')
  const third = attempt(whole, options)
  assert.equal((await third.done()).sha256, sha256)
  assert.deepEqual([requests.length, readFileSync(kept)], [1, content])
})

test('what nobody knows the sum of is not shared', async () => {
  const unexpected = attempt(whole, { shared: new SharedContent(join(root, 'unused')) })
  await unexpected.done()
  assert.equal(existsSync(join(root, 'unused')), false)
})

test('more bytes than the volume has free is StorageFull before the first is written', async () => {
  const { file, done } = attempt((_, response) => {
    response.writeHead(200, { 'content-length': 2 ** 52 })
    response.write('x')
  })
  await assert.rejects(done, { reason: 'StorageFull', message: /needs 4503599627370496 bytes/ })
  assert.equal(existsSync(`${file}.part`), false)
})
