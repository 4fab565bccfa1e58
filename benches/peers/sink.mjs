// The one request of every job, as confirmd sends it to Twilio.

import { Pool } from 'undici'

const ACCOUNT_SID = 'AC00000000000000000000000000000de5'
const REQUEST_TIMEOUT_MS = 10_000

export class Sink {
  #pool
  #headers = {
    authorization: `Basic ${Buffer.from(`${ACCOUNT_SID}:a token for the sink`).toString('base64')}`,
    accept: 'application/json',
    'content-type': 'application/x-www-form-urlencoded',
  }

  /** A connection for each job in flight, kept, and one request on it at a time. */
  constructor(baseUrl, connections) {
    const [headersTimeout, bodyTimeout] = [REQUEST_TIMEOUT_MS, REQUEST_TIMEOUT_MS]
    this.#pool = new Pool(baseUrl, { connections, pipelining: 1, headersTimeout, bodyTimeout })
  }

  /** Confirms one message; anything but a 201 whose body can be read is an error. */
  async confirm(messageSid) {
    const { statusCode, body } = await this.#pool.request({
      method: 'POST',
      path: `/2010-04-01/Accounts/${ACCOUNT_SID}/Messages/${messageSid}/Feedback.json`,
      headers: this.#headers,
      body: 'Outcome=confirmed',
    })
    await body.text()
    if (statusCode !== 201) throw new Error(`the sink answered ${statusCode} instead of 201`)
  }
}

/** The message of a job: its number, in the form of Twilio's SIDs. */
export function messageSid(number) {
  return `SM${number.toString(16).padStart(32, '0')}`
}
