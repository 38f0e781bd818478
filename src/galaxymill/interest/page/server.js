// What is asked of the server, and clicks on their way to it: none is lost before it is kept.

/**
 * @typedef {{id: string, number: number, rating: number | null, artifact: boolean,
 *   flags: string[], mean?: number}} Galaxy
 * @typedef {{rated: number, own: number, found: number, left: number, choice: number,
 *   count: number}} Progress
 * @typedef {Progress & {galaxies: Galaxy[], title: string}} Batch
 * @typedef {{rater: string, galaxy: string, rating: number | null, note: string}} Click
 */

const AGAIN_MS = 2000;
const AT_ONCE = 100;
const NOTE = "artifact";

/** An answer that says that asking again is of no use. */
class RefusedError extends Error {}

/**
 * @param {string} name
 * @param {object} body
 * @returns {Promise<any>}
 */
export async function ask(name, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(name, { method: "POST", headers, body: JSON.stringify(body) });
  const plain = await answer.json();
  if (answer.ok) return plain;
  throw answer.status < 500 ? new RefusedError(plain.error) : new Error(plain.error);
}

/** Clicks that the server has not yet kept, in their order; the browser remembers them, too. */
export class Outbox {
  /** @param {() => void} changed @param {(progress: Progress) => void} kept @param {(why: string) => void} complain */
  constructor(changed, kept, complain) {
    this.changed = changed;
    this.kept = kept;
    this.complain = complain;
    /** @type {Click[]} */
    this.waiting = [];
    this.isBusy = false;
    this.why = "";
    this.place = "";
  }

  /** Take up what an earlier visit could not send. */
  recall(/** @type {string} */ title) {
    this.place = `galaxymill rate ${title}`;
    try {
      const stored = JSON.parse(localStorage.getItem(this.place) ?? "[]");
      if (Array.isArray(stored)) this.waiting.unshift(...stored);
    } catch {
      localStorage.removeItem(this.place);
    }
    void this.send();
  }

  /** @param {string} rater @param {Galaxy} galaxy */
  add(rater, galaxy) {
    const note = galaxy.artifact ? NOTE : "";
    this.waiting.push({ rater, galaxy: galaxy.id, rating: galaxy.rating, note });
    void this.send();
  }

  isWaiting(/** @type {string} */ id) {
    return this.waiting.some((one) => one.galaxy === id);
  }

  async send() {
    this.remember();
    if (this.isBusy) return;
    this.isBusy = true;
    while (this.waiting.length) {
      const { rater } = this.waiting[0];
      const other = this.waiting.findIndex((one) => one.rater !== rater);
      const clicks = this.waiting.slice(0, other < 0 ? AT_ONCE : Math.min(other, AT_ONCE));
      try {
        const progress = await ask("rate", { rater, clicks });
        this.waiting.splice(0, clicks.length);
        this.why = "";
        this.kept(progress);
      } catch (error) {
        if (error instanceof RefusedError) {
          this.waiting.splice(0, clicks.length);
          this.complain(`Not kept: ${error.message}`);
        } else {
          this.why = error instanceof TypeError ? "the server does not answer" : String(/** @type {any} */ (error).message);
          this.remember();
          await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        }
      }
      this.remember();
    }
    this.isBusy = false;
  }

  remember() {
    if (this.waiting.length) localStorage.setItem(this.place, JSON.stringify(this.waiting));
    else localStorage.removeItem(this.place);
    this.changed();
  }
}
