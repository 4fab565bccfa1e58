// What a peer is asked to do, and how it is watched from outside while it does it.

import { setTimeout as sleep } from 'node:timers/promises'

import { messageSid } from './sink.mjs'

/** Without an answer from the sink or a completion for so long, something is wrong and nobody would ever say so. */
const STALLED_AFTER_MS = 60_000
/** Between two looks at whether the last jobs are completed; beside a drain of seconds, nothing. */
const LOOK_AGAIN_AFTER_MS = 2
/** Jobs that are enqueued by one statement. */
const ENQUEUED_AT_ONCE = 10_000

export class Drain {
  #sink
  #answered = 0
  #failure
  #resolve
  #reject
  /** Settled by the last answer, or by the first failure. */
  #end = new Promise((resolve, reject) => ([this.#resolve, this.#reject] = [resolve, reject]))

  constructor(sink, jobs, concurrency) {
    this.#sink = sink
    this.jobs = jobs
    this.concurrency = concurrency
    // Only awaited once the drain has begun; a failure before that waits until then.
    this.#end.catch(() => {})
  }

  /** The messages of all jobs, in portions to enqueue at once. */
  *portions() {
    for (let first = 0; first < this.jobs; first += ENQUEUED_AT_ONCE) {
      const length = Math.min(ENQUEUED_AT_ONCE, this.jobs - first)
      yield Array.from({ length }, (_, index) => messageSid(first + index))
    }
  }

  /** What a job does. A failure ends the drain: a peer that retries would measure something else. */
  async runJob(messageSid) {
    try {
      await this.#sink.confirm(messageSid)
    } catch (error) {
      this.fail(new Error(`${messageSid}: ${error.message}`, { cause: error }))
      throw error
    }
    this.#answered += 1
    if (this.#answered === this.jobs) this.#resolve()
  }

  /** Ends the drain with an error of a job or of the peer itself. */
  fail(error) {
    this.#failure ??= error
    this.#reject(error)
  }

  /** Drains the backlog, from the start of the peer's workers until its tables show every job as completed. In seconds. */
  async time(backlog) {
    const began = performance.now()
    await backlog.start()
    await this.#untilAllAreAnswered()
    const answered = performance.now()
    while (await backlog.isAnyLeft()) {
      if (this.#failure) throw this.#failure
      if (performance.now() - answered > STALLED_AFTER_MS) {
        throw new Error('every job was answered, but not every one is completed')
      }
      await sleep(LOOK_AGAIN_AFTER_MS)
    }
    const seconds = (performance.now() - began) / 1000
    if (this.#answered !== this.jobs) throw new Error(`${this.jobs} jobs were run ${this.#answered} times`)
    if (!(await backlog.accountsFor(this.jobs))) {
      throw new Error(`not all of ${this.jobs} jobs are in the peer's tables as completed`)
    }
    return seconds
  }

  async #untilAllAreAnswered() {
    let before = 0
    const watch = setInterval(() => {
      if (this.#answered === before) {
        const seconds = STALLED_AFTER_MS / 1000
        this.fail(new Error(`${before} of ${this.jobs} jobs were answered, and none more for ${seconds} s`))
      }
      before = this.#answered
    }, STALLED_AFTER_MS)
    try {
      await this.#end
    } finally {
      clearInterval(watch)
    }
  }
}
