/**
 * How long to wait before the next attempt. Pure: the random number is passed in.
 *
 * Full jitter: after a server has restarted, its clients reconnect spread over time, not all at once.
 */

const FIRST_MS = 500
const LONGEST_MS = 30_000
const LONGEST_SPREAD_MS = 300_000

/**
 * The wait before attempt `n` (from 0), in ms.
 * @param {number} n
 * @param {number} random in [0, 1)
 * @returns {number}
 */
export const backoff = (n, random) => Math.min(LONGEST_MS, FIRST_MS * 2 ** n) * random

/**
 * The wait after a bye that says within how long all its receivers should reconnect, in ms; 0 if it does not say.
 * @param {{within_s?: number}} bye
 * @param {number} random in [0, 1)
 * @returns {number}
 */
export const spread = (bye, random) => Math.min(LONGEST_SPREAD_MS, (bye.within_s || 0) * 1000) * random
