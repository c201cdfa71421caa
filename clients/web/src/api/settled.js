// A promise that is settled from outside.

/** `{promise, resolve, reject}`; nobody need wait for its failure. */
export function settled() {
  let settle = {};
  const promise = new Promise((resolve, reject) => {
    settle = { resolve, reject };
  });
  promise.catch(() => {});
  return { promise, ...settle };
}
