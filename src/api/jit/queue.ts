/** Jitted calls run one after the other, in the order they were made: variables they share then change in that order. */
let last: Promise<unknown> = Promise.resolve();

/** Runs `body` when every call before it has ended, well or badly. */
export function inTurn<T>(body: () => Promise<T>): Promise<T> {
  const turn = last.then(body, body);
  last = turn.catch(() => {});
  return turn;
}
