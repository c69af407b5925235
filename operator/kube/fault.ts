/** Exit code that tells a test that the fault switch, and nothing else, ended the process. */
export const FAULT_EXIT_CODE = 86

/**
 * The test switch: a hook to be called right after each mutating call to the API server (create, apply, delete, status,
 * event; not the Lease). The process ends at the n-th, so that a sweep over n = 1, 2, … dies between any two writes.
 */
export function faultAfter(n: number | undefined, exit: (code: number) => void = process.exit): () => void {
  let calls = 0
  return () => {
    calls++
    if (calls === n) exit(FAULT_EXIT_CODE)
  }
}
