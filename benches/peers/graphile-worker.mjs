// graphile-worker: fetches into a local queue, and deletes what is completed in batches.
//
// Settings: https://worker.graphile.org/docs/performance, from its "Quick stats" and "Batching"

import { Logger, makeWorkerUtils, run } from 'graphile-worker'
import pg from 'pg'

/** To Postgres: more than are ever used at once. */
const CONNECTIONS = 10
/** Jobs in one fetch. */
const LOCAL_QUEUE = 2_000

export class GraphileWorker {
  #drain
  #pool
  #logger

  constructor(databaseUrl, drain) {
    this.#drain = drain
    this.#pool = new pg.Pool({ connectionString: databaseUrl, max: CONNECTIONS })
    const failed = (error) => drain.fail(error)
    this.#pool.on('error', failed).on('connect', (client) => client.on('error', failed))
    this.#logger = new Logger(() => (level, message) => {
      if (level === 'error') failed(new Error(message))
    })
  }

  async enqueue() {
    const utils = await makeWorkerUtils({ pgPool: this.#pool, logger: this.#logger })
    await utils.migrate()
    for (const messages of this.#drain.portions()) {
      await utils.addJobs(messages.map((messageSid) => ({ identifier: 'confirm', payload: { messageSid } })))
    }
    await utils.release()
  }

  async start() {
    const runner = await run({
      preset: {
        worker: {
          concurrentJobs: this.#drain.concurrency,
          maxPoolSize: CONNECTIONS,
          localQueue: { size: LOCAL_QUEUE },
          // Not -1: whatever completes within one turn of the event loop is one DELETE.
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
        },
      },
      pgPool: this.#pool,
      logger: this.#logger,
      noHandleSignals: true,
      taskList: { confirm: ({ messageSid }) => this.#drain.runJob(messageSid) },
    })
    runner.promise.catch((error) => this.#drain.fail(error))
  }

  async isAnyLeft() {
    const { rows } = await this.#pool.query('select exists (select from graphile_worker._private_jobs) as any_left')
    return rows[0].any_left
  }

  /** What is completed is deleted, and the sequence of the ids tells how many there were. */
  async accountsFor(jobs) {
    const { rows } = await this.#pool.query(
      "select pg_sequence_last_value(pg_get_serial_sequence('graphile_worker._private_jobs', 'id')::regclass) as ever",
    )
    return Number(rows[0].ever) === jobs
  }
}
