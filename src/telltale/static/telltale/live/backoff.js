/**
 * How long to wait before trying again. Pure: chance is passed in.
 *
 * Full jitter: after a server has restarted, its followers come back spread out, not all at once.
 */

const FIRST_MS = 500
const LONGEST_MS = 30_000
const LONGEST_SPREAD_MS = 300_000

/**
 * Wait before try `n` (from 0), in ms.
 * @param {number} n
 * @param {number} random in [0, 1)
 * @returns {number}
 */
export const backoff = (n, random) => Math.min(LONGEST_MS, FIRST_MS * 2 ** n) * random

/**
 * Wait after a farewell that says within how long all who heard it should come back, in ms; 0 if it does not.
 * @param {{within_s?: number}} bye
 * @param {number} random in [0, 1)
 * @returns {number}
 */
export const spread = (bye, random) => Math.min(LONGEST_SPREAD_MS, (bye.within_s || 0) * 1000) * random
