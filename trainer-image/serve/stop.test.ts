import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StopScanner } from './stop.ts'

const cases: {
  scanning: string
  stops: string[]
  pushed: string[]
  shown: string[]
  stopped: boolean
  rest: string
}[] = [
  {
    scanning: 'shows text at once when nothing can begin a stop',
    stops: ['END'],
    pushed: ['ab', 'c'],
    shown: ['ab', 'c'],
    stopped: false,
    rest: '',
  },
  {
    scanning: 'holds what may begin a stop',
    stops: ['END'],
    pushed: ['aE', 'N', 'x'],
    shown: ['a', '', 'ENx'],
    stopped: false,
    rest: '',
  },
  {
    scanning: 'cuts at a stop spread over tokens',
    stops: ['END'],
    pushed: ['aE', 'N', 'Dz'],
    shown: ['a', '', ''],
    stopped: true,
    rest: '',
  },
  {
    scanning: 'cuts at the earliest of several',
    stops: ['cd', 'bc'],
    pushed: ['abcd'],
    shown: ['a'],
    stopped: true,
    rest: '',
  },
  {
    scanning: 'gives the held text back at the end',
    stops: ['END'],
    pushed: ['aEN'],
    shown: ['a'],
    stopped: false,
    rest: 'EN',
  },
  {
    scanning: 'finds a stop that overlaps itself',
    stops: ['aab'],
    pushed: ['aa', 'ab'],
    shown: ['', 'a'],
    stopped: true,
    rest: '',
  },
  {
    scanning: 'shows everything without stops',
    stops: [],
    pushed: ['a', 'b'],
    shown: ['a', 'b'],
    stopped: false,
    rest: '',
  },
]
for (const { scanning, stops, pushed, shown, stopped, rest } of cases) {
  test(`the stop scanner ${scanning}`, () => {
    const scanner = new StopScanner(stops)
    const results = pushed.map((text) => scanner.push(text))
    assert.deepEqual(
      results.map(({ text }) => text),
      shown,
    )
    assert.equal(results.at(-1)?.stopped, stopped)
    assert.equal(scanner.end(), rest)
  })
}
