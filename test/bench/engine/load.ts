/** load.ts FOLDER NF4|None THREADS: from files to ready; prints the seconds once. */
import { type Base, openFolder } from './model-folder.ts'

const [folder = '', base = 'NF4', threads = '2'] = process.argv.slice(2)
const start = performance.now()
const model = await openFolder(folder, base as Base, Number(threads))
console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000 }))
model.close()
