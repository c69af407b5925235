/** The trainer's image with the CUDA kernels, built as `make images ENGINE=cuda` builds it, and its engine started in it, where no GPU is. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { cacheDir } from '../cache.ts'
import { buildImages } from './kubectl.ts'

const store = ['--root', join(cacheDir, 'containers'), '--runroot', join(cacheDir, 'containers-run')]
const buildah = (...args: readonly string[]): string =>
  execFileSync('buildah', [...store, '--storage-driver', 'overlay', ...args], { encoding: 'utf8' }).trim()

let container: string
before(async () => {
  const { TRAINER_IMAGE } = await buildImages({ ENGINE: 'cuda', ARCHIVES: '0' })
  container = buildah('from', '--pull-never', TRAINER_IMAGE!)
})
after(() => buildah('rm', container))

/** What the image's Node, as the image's user, makes of a module's text. */
const inImage = (text: string): string =>
  buildah('run', '--isolation', 'chroot', container, '--', 'node', '--input-type=module', '-e', text)

test('the engine loads with the libraries of the image alone and says in words that there is no driver', () => {
  const said = inImage(`
    import { readFileSync } from 'node:fs'
    import { onDevice } from '/app/trainer-image/job/device.ts'
    import { deviceMemory, engineInfo } from '/app/trainer-image/native/index.ts'
    const refused = (() => { try { return deviceMemory() } catch ({ code, message }) { return { code, message } } })()
    const maps = readFileSync('/proc/self/maps', 'utf8')
    console.log(JSON.stringify({
      user: process.getuid(), cuda: engineInfo().cuda, refused, auto: onDevice('Auto'), asked: onDevice('CUDA'),
      cublas: maps.match(/\\/app\\S*libcublasLt\\S*/)?.[0],
    }))`)
  const { refused, ...rest } = JSON.parse(said) as { refused: { code: string; message: string } }
  assert.deepEqual(rest, {
    user: 65532,
    cuda: true,
    auto: false, // the CPU, where no GPU was asked for
    asked: true,
    cublas: '/app/build/native/libcublasLt.so.13',
  })
  assert.equal(refused.code, 'DEVICE_UNAVAILABLE')
  assert.match(refused.message, /no NVIDIA driver in this container: the pod must ask for nvidia\.com\/gpu/)
})

test('a pod that asked for no GPU is shown none, one that did gets what computing and nvidia-smi need', () => {
  const { Env, Entrypoint, User } = JSON.parse(buildah('inspect', container)).OCIv1.config
  assert.deepEqual(Entrypoint, ['node', 'trainer-image/main.ts'])
  assert.equal(User, '65532:65532')
  assert.ok(Env.includes('NVIDIA_VISIBLE_DEVICES=void'), Env)
  assert.ok(Env.includes('NVIDIA_DRIVER_CAPABILITIES=compute,utility'), Env)
})
