// Postgres job queues in Node, each draining the same backlog: every job POSTs to a sink, and is then durably completed.
//
// What is printed, and when, is agreed with `confirmd bench --peers`: see the README.

import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

import { Drain } from './drain.mjs'
import { GraphileWorker } from './graphile-worker.mjs'
import { PgBossPeer } from './pg-boss.mjs'
import { Sink } from './sink.mjs'

const PEERS = { 'graphile-worker': GraphileWorker, 'pg-boss': PgBossPeer }
const USAGE = `Usage: node peers.mjs ${Object.keys(PEERS).join('|')} --database-url URL --sink http://HOST:PORT --jobs N --concurrency C`

try {
  await main()
} catch (error) {
  console.error(`peers.mjs: ${error.message}`)
  // Not by itself: the peers' workers and connections are still there.
  process.exit(1)
}
process.exit(0)

async function main() {
  const asked = whatIsAsked()
  const drain = new Drain(new Sink(asked.sink, asked.concurrency), asked.jobs, asked.concurrency)
  const backlog = new PEERS[asked.peer](asked.databaseUrl, drain)
  await backlog.enqueue()
  console.log(JSON.stringify({ ready: true }))
  await startingSignal()
  const seconds = await drain.time(backlog)
  const { jobs, concurrency } = asked
  const version = installedVersion(asked.peer)
  console.log(JSON.stringify({ peer: asked.peer, version, jobs, concurrency, seconds, jobs_per_second: jobs / seconds }))
}

function whatIsAsked() {
  const text = { type: 'string' }
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { 'database-url': text, sink: text, jobs: text, concurrency: text },
  })
  const [peer, ...more] = positionals
  if (!Object.hasOwn(PEERS, peer ?? '') || more.length) throw new Error(USAGE)
  for (const name of ['database-url', 'sink']) if (!values[name]) throw new Error(`--${name} is missing\n${USAGE}`)
  const count = (name) => {
    if (!/^[1-9]\d{0,8}$/.test(values[name] ?? '')) throw new Error(`--${name} must be a number above 0\n${USAGE}`)
    return Number(values[name])
  }
  return { peer, databaseUrl: values['database-url'], sink: values.sink, jobs: count('jobs'), concurrency: count('concurrency') }
}

/** Waits for a line on standard input. */
async function startingSignal() {
  const lines = createInterface({ input: process.stdin })
  for await (const _line of lines) return lines.close()
  throw new Error('standard input ended before the starting signal')
}

function installedVersion(name) {
  return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version
}
