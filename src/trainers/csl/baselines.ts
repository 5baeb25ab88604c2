/** What needs no model: the most frequent label, the lead of the abstract, keywords of other papers found in the text. */

/** The label that stands most often, the first of several. */
export function majority(labels: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].reduce((best, one) => (one[1] > best[1] ? one : best))[0];
}

/** Ends a clause in Chinese or Western text; a dot between digits does not. */
const CLAUSE_END = /[。，；：！？,;:!?]|\.(?!\d)/;

/** The first clause of an abstract, as its title. */
export function lead(abstract: string): string {
  return abstract.split(CLAUSE_END).find((clause) => clause.trim() !== '') ?? abstract;
}

export const LEAD_CHARACTERS = 32;

/** The first characters of an abstract, as its title. */
export function leadCharacters(abstract: string): string {
  return [...abstract].slice(0, LEAD_CHARACTERS).join('');
}

/** Keywords of a paper in the benchmark, on average. */
const NUM_KEYWORDS = 4;

/** Keywords known from training papers that stand in the text: the longest, at most four. */
export function knownKeywords(text: string, known: ReadonlySet<string>): string[] {
  return [...known]
    .filter((keyword) => text.includes(keyword))
    .sort((a, b) => b.length - a.length || (a < b ? -1 : 1))
    .slice(0, NUM_KEYWORDS);
}
