import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { freshFolders } from '../../test/fixtures/fresh-folders.ts'
import { jsonl } from '../../test/fixtures/sources.ts'
import { wordF1 } from './copy-baseline.ts'
import { corrupt } from './denoise.ts'
import { prepare } from './prepare.ts'
import { configOf, contextOf } from './preparing.ts'
import { isUnspaced } from './unspaced.ts'

const freshFolder = await freshFolders('unspaced-')

const texts = {
  Chinese:
    '今天早上，我去市场买了一些新鲜的蔬菜和水果，然后回家做了一顿丰盛的午餐。下午我和朋友们一起去公园散步，我们聊了很多关于工作和生活的事情，感觉非常开心！晚上看了一部电影，很晚才睡。',
  Japanese:
    '今日は朝早く起きて、市場へ野菜と果物を買いに行きました。それから家に帰って、昼ご飯を作りました。午後は友達と公園を散歩して、仕事や生活についてたくさん話しました。',
  Thai: 'วันนี้อากาศดีมาก ฉันไปตลาดเพื่อซื้อผักและผลไม้สด จากนั้นกลับบ้านทำอาหารกลางวันมื้อใหญ่ ตอนบ่ายฉันกับเพื่อนไปเดินเล่นในสวนสาธารณะ',
}
for (const [language, text] of Object.entries(texts))
  test(`${language}: its words are lost and swapped, so that there is something to restore`, () => {
    const corrupted = corrupt(text, 42, 'x-1')
    assert.equal(corrupt(text, 42, 'x-1'), corrupted)
    assert.notEqual(corrupt(text, 43, 'x-1'), corrupted)
    const score = wordF1(corrupted, text)
    assert.ok(score > 0.75 && score < 0.98, `${score} ${corrupted}`)
    assert.ok(corrupted.length > 0.7 * text.length && corrupted.length < text.length)
  })

test('a text that is too short to be hit is turned round', () => {
  const hit = Array.from({ length: 20 }, (_, seed) => corrupt('我爱公园', seed, 'x'))
  for (const each of hit) assert.notEqual(each, '我爱公园')
  assert.ok(hit.includes('公园爱我'))
})

test('near copies are found by the words that dictionaries tell', async () => {
  const rows = Object.values(texts).flatMap((text) => {
    const long = Array.from({ length: 5 }, (_, i) => `${i} ${text}`).join('')
    return [{ text: long }, { text: `${long.slice(0, 60)}x${long.slice(60)}` }, { text: [...text].reverse().join('') }]
  })
  const dataDir = await freshFolder()
  await writeFile(join(dataDir, 'a.jsonl'), jsonl(rows))
  const { counts } = await prepare(configOf([{ filePath: join(dataDir, 'a.jsonl') }]), contextOf(dataDir))
  assert.deepEqual([counts?.read, counts?.nearDuplicates], [9, 3])
})

test('marks are flattened as in spaced text', () => {
  const corrupted = corrupt(texts.Chinese.repeat(4), 1, 'x')
  assert.doesNotMatch(corrupted, /！/)
  const commas = (text: string): number => text.split('，').length - 1
  assert.ok(commas(corrupted) < 0.6 * commas(texts.Chinese.repeat(4)))
})

test('a text is of such a script when most of its letters are', () => {
  const cases = [...Object.values(texts).map((text) => [text, true] as const)]
  const spaced = ['', '…!?', 'He said 你好 and left.', 'Он сказал: привет.', '안녕하세요, 오늘은 날씨가 좋습니다.']
  for (const [text, want] of [...cases, ...spaced.map((text) => [text, false] as const)])
    assert.equal(isUnspaced(text), want, text)
})
