// pg-boss: several workers, each fetching a batch and completing it as a whole.
//
// Settings: https://pgboss.io/api/workers#work-name-options-handler

import pg from 'pg'
import { PgBoss } from 'pg-boss'

const QUEUE = 'confirm'
/** To Postgres: more than are ever used at once. */
const CONNECTIONS = 10
/** A worker does not fetch while its batch runs, nor the other way round; several take turns. */
const WORKERS = 4
/** Jobs in one fetch of a worker, and in one completion. */
const BATCH = 1_000

export class PgBossPeer {
  #drain
  #boss
  #pool

  constructor(databaseUrl, drain) {
    this.#drain = drain
    const failed = (error) => drain.fail(error)
    // Nothing here is scheduled, and upkeep within these seconds would only be noise.
    this.#boss = new PgBoss({ connectionString: databaseUrl, max: CONNECTIONS, schedule: false, supervise: false })
    this.#boss.on('error', failed)
    this.#pool = new pg.Pool({ connectionString: databaseUrl, max: 1 }).on('error', failed)
  }

  async enqueue() {
    await this.#boss.start()
    await this.#boss.createQueue(QUEUE)
    for (const messages of this.#drain.portions()) {
      await this.#boss.insert(QUEUE, messages.map((messageSid) => ({ data: { messageSid } })))
    }
    // A queue in use has statistics. Without any, each fetch sorts the whole backlog: 1.15 times slower with 50,000 jobs.
    await this.#pool.query('analyze')
  }

  async start() {
    // A batch is larger than what may be in flight, or most of the time would be spent fetching.
    const inFlight = new Semaphore(this.#drain.concurrency)
    const runJob = ({ data }) => inFlight.run(() => this.#drain.runJob(data.messageSid))
    const options = { batchSize: BATCH, localConcurrency: WORKERS, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }
    await this.#boss.work(QUEUE, options, (jobs) => Promise.all(jobs.map(runJob)).then(() => undefined))
  }

  async isAnyLeft() {
    const anyLeft = "select exists (select from pgboss.job where name = $1 and state <> 'completed') as any_left"
    const { rows } = await this.#pool.query(anyLeft, [QUEUE])
    return rows[0].any_left
  }

  async accountsFor(jobs) {
    const completed = "select count(*) from pgboss.job where name = $1 and state = 'completed'"
    const { rows } = await this.#pool.query(completed, [QUEUE])
    return Number(rows[0].count) === jobs
  }
}

/** Lets so many run at once, first come, first served. */
class Semaphore {
  #free
  #waiting = []
  #next = 0

  constructor(size) {
    this.#free = size
  }

  async run(work) {
    if (this.#free > 0) this.#free -= 1
    else await new Promise((resolve) => this.#waiting.push(resolve))
    try {
      return await work()
    } finally {
      this.#handOn()
    }
  }

  /** By index, since `shift` of a long array moves all that is left of it. */
  #handOn() {
    if (this.#next === this.#waiting.length) {
      this.#free += 1
      return
    }
    this.#waiting[this.#next]()
    this.#next += 1
    if (this.#next === this.#waiting.length) [this.#waiting, this.#next] = [[], 0]
  }
}
