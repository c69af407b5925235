import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { startServer } from './server.ts'

const { publicKey } = generateKeyPairSync('ed25519')
const trust = { publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(), port: 0 }
const audience = { podUid: 'pod', ownerUid: 'owner', attempt: 1 }
const hasIPv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'))

test('calls are taken at addresses of both families, as far as the machine has them', async () => {
  const server = await startServer({ ...audience, trust, services: [] })
  try {
    for (const host of ['127.0.0.1', ...(hasIPv6 ? ['::1'] : [])]) {
      const socket = connect(server.port, host)
      await once(socket, 'connect')
      socket.destroy()
    }
  } finally {
    await server.close()
  }
})

test('a port that is taken is an error, and a host that is given is the only one', async () => {
  const first = await startServer({ ...audience, trust, services: [], host: '127.0.0.1' })
  try {
    const taken = { ...trust, port: first.port }
    await assert.rejects(startServer({ ...audience, trust: taken, services: [], host: '127.0.0.1' }), /EADDRINUSE/)
  } finally {
    await first.close()
  }
})
