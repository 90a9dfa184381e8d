/** Header fields as they were on the wire: name in its own case, order and duplicates kept. */
export type HeaderList = readonly [name: string, value: string][];

/** What a test may write for headers: a list where case, order or duplicates matter, else a record. */
export type HeaderInput = HeaderList | Readonly<Record<string, string>>;

export function toHeaderList(input: HeaderInput | undefined): HeaderList {
  if (input === undefined) return [];
  return isList(input) ? input : Object.entries(input);
}

/** From the flat list that node:http calls rawHeaders or rawTrailers. */
export function fromFlat(flat: readonly string[]): HeaderList {
  const list: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) list.push([flat[i] ?? '', flat[i + 1] ?? '']);
  return list;
}

/** To the flat list that node:http takes where case, order and duplicates are to stay. */
export function toFlat(list: HeaderList): string[] {
  return list.flatMap(([name, value]) => [name, value]);
}

/** The first value of a field; the name is compared without case. */
export function valueOf(list: HeaderList, name: string): string | undefined {
  return list.find(([field]) => field.toLowerCase() === name.toLowerCase())?.[1];
}

function isList(input: HeaderInput): input is HeaderList {
  return Array.isArray(input);
}
