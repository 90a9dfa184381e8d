// Building what is shown. It came from callers and callees, so it is only ever set as text, never as markup.

/** An element. @param content text, elements, or a list of both; null shows a dash */
export function element(name, content, attributes = {}) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...(Array.isArray(content) ? content : [content]).map(shown));
  return made;
}

function shown(part) {
  if (part instanceof Node) return part;
  return part === null || part === undefined ? '–' : printable(String(part));
}

/** Control characters, and those that turn the direction of what follows, would let a path look like another one. */
export function printable(text) {
  return text.replaceAll(
    /[\p{Cc}\p{Zl}\p{Zp}\u061C\u200B-\u200F\u202A-\u202E\u2060-\u2069\uFEFF]/gu,
    (character) => `\\u${character.codePointAt(0).toString(16).padStart(4, '0')}`,
  );
}

export function button(text, onClick, attributes = {}) {
  const made = element('button', text, { type: 'button', ...attributes });
  made.addEventListener('click', onClick);
  return made;
}

/** A link within the page. @param query left out where it is empty */
export function link(text, path, query = {}, attributes = {}) {
  return element('a', text, { href: hashOf(path, query), ...attributes });
}

export function hashOf(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '' && value !== null);
  return given.length === 0 ? `#${path}` : `#${path}?${new URLSearchParams(given)}`;
}

/** A table whose rows are told apart by keys. @param columns their titles; '' for one without */
export function table(columns, attributes = {}) {
  const head = columns.map((title) => (title === '' ? element('td', '') : element('th', title, { scope: 'col' })));
  const body = element('tbody', []);
  const made = element('table', [element('thead', element('tr', head)), body], attributes);
  return { element: element('div', made, { class: 'scroller' }), body, columns };
}

/** A row of cells; what is no element becomes one. On narrow screens each says its column's title. */
export function row(columns, cells) {
  const made = cells.map((cell) => (cell instanceof HTMLTableCellElement ? cell : element('td', cell)));
  for (const [index, cell] of made.entries()) if (columns[index]) cell.dataset.title = columns[index];
  return element('tr', made);
}

/**
 * Shows these entries in a table. Rows that say the same as before stay as they are, so that neither the focus nor a
 * selection is lost each time that the page asks again.
 */
export function showRows(place, entries, keyOf, rowOf, whenEmpty) {
  const before = new Map([...place.body.children].map((tr) => [tr.dataset.key, tr]));
  const rows = entries.map((entry) => {
    const key = keyOf(entry);
    const says = JSON.stringify(entry);
    const old = before.get(key);
    if (old !== undefined && old.says === says) return old;
    const made = rowOf(entry);
    made.dataset.key = key;
    made.says = says;
    return made;
  });
  if (rows.length === 0)
    rows.push(element('tr', element('td', whenEmpty, { class: 'none', colspan: place.columns.length })));
  if (rows.length === place.body.children.length && rows.every((tr, index) => tr === place.body.children[index]))
    return;
  const focused = focusWithin(place.body);
  place.body.replaceChildren(...rows);
  focused?.();
}

/** What brings the focus back to the same control of the same row. */
function focusWithin(body) {
  const focused = document.activeElement;
  const tr = body.contains(focused) ? focused.closest('tr') : null;
  if (tr === null) return undefined;
  const controls = 'a, button, input';
  const index = [...tr.querySelectorAll(controls)].indexOf(focused);
  const { key } = tr.dataset;
  return () => {
    const same = [...body.children].find((each) => each.dataset.key === key);
    const found = same?.querySelectorAll(controls) ?? [];
    found[index]?.focus();
  };
}

/** What is known of one thing, name by name; what is not known is left out. */
export function facts(all) {
  const told = Object.entries(all).filter(([, value]) => value !== null && value !== undefined);
  const entries = told.map(([name, value]) => element('div', [element('dt', name), element('dd', value)]));
  return element('dl', entries);
}
