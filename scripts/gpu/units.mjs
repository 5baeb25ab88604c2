// Numbers of the report as people read them.
export const percent = (share) => (share === undefined ? '' : `${(share * 100).toFixed(1)} %`);
export const gib = (bytes) => (typeof bytes === 'number' ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : '');
/** A message in a cell of a table. */
export const inCell = (text) => String(text).split('\n')[0].replaceAll('|', '/');
