import { chownSync, mkdirSync } from 'node:fs'
import { enableCompileCache, flushCompileCache } from 'node:module'

/*
 * Run once while the image is built, as root: leaves in the folder given what Node compiled of each command's modules, for the user given
 * (Node keeps the cache of each user apart). A pod's start then costs half its CPU time. On a CPU with other instructions, or
 * as another user, Node compiles as it would without.
 */
const [folder, user] = process.argv.slice(2)
if (folder === undefined || user === undefined) throw new Error('usage: compile-cache.ts FOLDER UID')
mkdirSync(folder)
chownSync(folder, Number(user), Number(user))
process.setuid?.(Number(user))
enableCompileCache(folder)
await Promise.all([
  import('./job/commands.ts'),
  import('./dataset/prepare.ts'),
  import('./model/fetch.ts'),
  import('./train/train.ts'),
  import('./merge/merge.ts'),
  import('./push/upload.ts'),
  import('./serve/serve.ts'),
  import('./vllm/serve.ts'),
])
flushCompileCache()
